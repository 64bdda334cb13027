#pragma once
// What is slow or broken in a cluster while a step runs. Numbers count over the whole cluster: GPU
// node * gpus_per_node + index, NIC node * nic.per_node + index.
#include <map>
#include <set>
#include <string>

#include "core/quantity.hpp"

namespace orrery {

struct Faults {
  std::map<int, double> gpu_speed;             // fraction of its speed that a GPU computes with
  std::map<int, double> nic;                   // fraction of its bandwidth; 0: down
  std::map<int, BytesPerSecond> nvlink;        // node whose GPUs reach each other at this rate
  std::set<int> planes;                        // lost altogether
  std::map<std::string, double> switch_links;  // fraction of the cables above (at leaves and pods)
                                               // or at a switch that are left
  bool empty() const {
    return gpu_speed.empty() && nic.empty() && nvlink.empty() && planes.empty() &&
           switch_links.empty();
  }
  bool operator==(const Faults&) const = default;
};

}  // namespace orrery
