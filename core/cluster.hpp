#pragma once
// A GPU cluster: nodes, links, fabric, price. The device itself (kernel rates, memory) is a
// calibration file that `device` names. Bandwidths are per GPU or per NIC and in one direction
// unless said otherwise.
#include <string>
#include <string_view>

#include "core/figure.hpp"
#include "core/quantity.hpp"

namespace orrery {

struct NvlinkDomain {
  BytesPerSecond bandwidth;  // one GPU, one direction, usable by kernels
  Seconds latency;           // a small message between two GPUs of a node
  bool operator==(const NvlinkDomain&) const = default;
};

struct Nic {
  int per_node = 0;
  BytesPerSecond bandwidth;  // line rate of one NIC, one direction
  bool operator==(const Nic&) const = default;
};

enum class FabricKind {
  kMultiPlaneFatTree,
  kMultiRailFatTree,
  kFatTree,
  kSingleSwitch,
  kHost,  // no GPUs: the ranks are threads that share the cores and the memory of one machine
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
  bool operator==(const Fabric&) const = default;
};

struct Cluster {
  std::string name;
  std::string device;  // calibration that describes the GPU
  int nodes = 0;
  int gpus_per_node = 0;
  NvlinkDomain nvlink;
  Nic nic;
  Fabric fabric;
  Dollars price_per_gpu_hour;
  AssumedFigures assumed;

  int gpus() const { return nodes * gpus_per_node; }
  // NIC bandwidth that one GPU can count on: its share of the node's NICs.
  BytesPerSecond nic_bandwidth_per_gpu() const {
    return nic.bandwidth * nic.per_node / gpus_per_node;
  }
  bool operator==(const Cluster&) const = default;
};

std::string_view to_string(FabricKind kind);

}  // namespace orrery
