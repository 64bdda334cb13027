#pragma once
// Reads what is slow or broken in a cluster (`--faults f.toml`). Throws InputError with every error
// of the file, among them nodes, GPUs, NICs and planes that the cluster does not have.
//
//   format_version = "1.0"
//   [[gpu]]     node, gpu (of the node), speed = 0.9 (of its computation, 1 = sound)
//   [[nic]]     node, nic (of the node), bandwidth = 0.5 (what is left of it; 0 = down)
//   [[plane]]   plane = 3: lost altogether (of a multi-plane fat tree)
//   [[switch]]  name = "plane0.leaf2", uplinks = 0.5 (what is left of its cables upward, above 0)
//   [[node]]    node, nvlink = "25 GB/s": without NVLink, its GPUs reach each other at this rate
#include <string>

#include "core/cluster.hpp"
#include "core/faults.hpp"

namespace orrery {

Faults read_faults(const std::string& path, const Cluster& cluster);

}  // namespace orrery
