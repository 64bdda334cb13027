#pragma once
// Reads a cluster (topologies/*.toml). Throws InputError with every error of the file.
//
// The schema:
//   format_version = "1.0"    name = "..."    device = "h800" (a calibration)
//   nodes, gpus_per_node, price_per_gpu_hour = "2 USD/h"
//   [nvlink]  bandwidth (one GPU, one direction, usable), latency;
//   [pcie]    in its place: the same of GPUs that PCIe alone joins
//   [nic]     per_node, bandwidth (one NIC, one direction; "400 Gb/s" are bits),
//             serves = [[0, 1], [2, 3]]: GPUs of the node by NIC (default: evenly, in order)
//   [fabric]  kind = "multi-plane-fat-tree" | "multi-rail-fat-tree" | "fat-tree" | "single-switch"
//             | "custom",
//             planes = 1, switch_layers, switch_radix, oversubscription = 1,
//             same_leaf_latency, cross_leaf_latency (default: the same),
//             routing = "adaptive" | "static" | "ecmp", switch_usd, cable_usd (prices)
//   A custom fabric has, in the place of planes, layers and oversubscription:
//             switches = ["leaf0", "leaf1", "spine"]
//             [[fabric.cables]]  from = "node0-3.nic0", to = "leaf0", bandwidth (default: the
//                                NIC's), count = 1
// A cluster of one node needs neither [nic] nor [fabric].
#include <cstdint>
#include <string>

#include "core/cluster.hpp"
#include "core/document.hpp"
#include "core/reader.hpp"

namespace orrery {

Cluster read_cluster(const std::string& path);

// Decodes and checks a table in the schema above, without format_version: a cluster file, or a
// plan's cluster.
Cluster decode_cluster(Reader& reader);

// How many NICs one plane of the fabric connects: radix for one switch layer, radix^2 / 2 for two
// (a k-port fat tree; more when oversubscribed), radix^3 / 4 for three.
std::int64_t endpoints_per_plane(const Fabric& fabric);

}  // namespace orrery
