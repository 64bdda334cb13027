#pragma once
// A GPU cluster: nodes, links, fabric, price. The device itself (kernel rates, memory) is a
// calibration file that `device` names. Bandwidths are per GPU or per NIC and in one direction
// unless said otherwise.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/figure.hpp"
#include "core/quantity.hpp"

namespace orrery {

// What joins the GPUs of a node: NVLink through switches, one domain a node whatever its size (8 in
// an HGX board, 72 in an NVL72 rack), or PCIe alone. Over PCIe the port of a GPU also carries what
// it sends through its NIC.
struct NvlinkDomain {
  BytesPerSecond bandwidth;  // one GPU, one direction, usable by kernels
  Seconds latency;           // a small message between two GPUs of a node
  bool pcie = false;
  bool operator==(const NvlinkDomain&) const = default;
};

struct Nic {
  int per_node = 0;
  BytesPerSecond bandwidth;  // line rate of one NIC, one direction
  // By NIC, the GPUs of the node that it serves; empty: shared out evenly in order.
  std::vector<std::vector<int>> serves = {};
  bool operator==(const Nic&) const = default;
};

enum class FabricKind {
  kMultiPlaneFatTree,
  kMultiRailFatTree,
  kFatTree,
  kSingleSwitch,
  kCustom,  // an edge list
  kHost,    // no GPUs: the ranks are threads that share the cores and the memory of one machine
};

// How a message finds its way among equally short paths.
enum class Routing {
  kAdaptive,  // spread packet by packet over all of them
  kStatic,    // by its destination
  kEcmp,      // by a hash of source and destination
};

// One line of the edge list of a custom fabric: `count` equal cables. An end is a switch, "leaf0",
// or NICs, "node3.nic1" (or "node0-7.nic1": one cable each).
struct Cable {
  std::string from, to;
  BytesPerSecond bandwidth;  // of one cable, one direction
  int count = 1;
  bool operator==(const Cable&) const = default;
};

struct Fabric {
  FabricKind kind = FabricKind::kSingleSwitch;
  int planes = 1;
  int switch_layers = 1;
  int switch_radix = 0;  // ports of one switch
  double oversubscription =
      1;                      // downlink over uplink bandwidth of a leaf switch; 1 = full bisection
  Seconds same_leaf_latency;  // a small message between GPUs under one leaf switch
  Seconds cross_leaf_latency;  // the same across the spine
  Routing routing = Routing::kAdaptive;
  double switch_usd = 0, cable_usd = 0;    // a switch, a cable between switches; 0: not known
  std::vector<std::string> switches = {};  // of a custom fabric
  std::vector<Cable> cables = {};
  bool operator==(const Fabric&) const = default;
};

// The host of a node: what lies in its memory is moved and updated by the CPUs.
struct HostLink {
  BytesPerSecond pcie;    // between one GPU and the host, one direction
  BytesPerSecond memory;  // of a node's CPUs
  bool operator==(const HostLink&) const = default;
};

// How often a run on the cluster breaks off, and what brings it back.
struct Reliability {
  Seconds gpu_mtbf;   // of one GPU, between failures that end a run
  Seconds node_mtbf;  // of one node without its GPUs: host, network, power, software
  Seconds restart;    // from a failure until training goes on, without the work to be redone
  BytesPerSecond checkpoint;  // what one node writes to storage, while training stands still
  std::string basis;          // whose figures these are
  bool operator==(const Reliability&) const = default;
};

struct Cluster {
  std::string name;
  std::string device;  // calibration that describes the GPU
  int nodes = 0;
  int gpus_per_node = 0;
  NvlinkDomain nvlink;
  Nic nic;
  Fabric fabric;
  std::optional<HostLink> host = {};
  std::optional<Reliability> reliability = {};
  Dollars price_per_gpu_hour;
  AssumedFigures assumed;

  int gpus() const { return nodes * gpus_per_node; }
  // Switch ports that face NICs and those that face other switches, of a leaf of a fat tree.
  int leaf_down_ports() const;
  int leaf_up_ports() const;
  // Nodes whose NICs of one plane (of one rail: of one index) meet in one leaf switch; all of them
  // where nothing lies above the leaves or the fabric is custom.
  int nodes_per_leaf() const;
  // By GPU of a node: the NIC it uses, the first of them where it has several.
  std::vector<int> nic_of_gpu() const;
  // NIC bandwidth that one GPU can count on: its share of the node's NICs.
  BytesPerSecond nic_bandwidth_per_gpu() const {
    return nic.bandwidth * nic.per_node / gpus_per_node;
  }
  bool operator==(const Cluster&) const = default;
};

std::string_view to_string(FabricKind kind);
std::string_view to_string(Routing routing);

}  // namespace orrery
