#include "core/cluster.hpp"

#include <algorithm>
#include <cmath>

namespace orrery {

int Cluster::leaf_down_ports() const {
  if (fabric.switch_layers <= 1) return fabric.switch_radix;
  return static_cast<int>(
      std::floor(fabric.switch_radix * fabric.oversubscription / (1 + fabric.oversubscription)));
}

int Cluster::leaf_up_ports() const {
  if (fabric.switch_layers <= 1) return 0;
  return static_cast<int>(std::floor(fabric.switch_radix / (1 + fabric.oversubscription)));
}

int Cluster::nodes_per_leaf() const {
  const int down = leaf_down_ports();
  if (fabric.switch_layers <= 1 || down == 0 || fabric.kind == FabricKind::kCustom) return nodes;
  // Of a node's NICs, those that one leaf takes: all of a fat tree, one of each rail, a plane's
  // share of several planes.
  const int together = fabric.kind == FabricKind::kMultiRailFatTree
                           ? 1
                           : std::max(1, nic.per_node / std::max(1, fabric.planes));
  return std::max(1, down / together);
}

std::vector<int> Cluster::nic_of_gpu() const {
  std::vector<int> nics(static_cast<std::size_t>(gpus_per_node), 0);
  for (int gpu = 0; gpu < gpus_per_node; ++gpu) {
    nics[static_cast<std::size_t>(gpu)] =
        static_cast<int>(static_cast<std::int64_t>(gpu) * nic.per_node / gpus_per_node);
  }
  for (std::size_t number = 0; number < nic.serves.size(); ++number) {
    for (int gpu : nic.serves[number])
      nics[static_cast<std::size_t>(gpu)] = static_cast<int>(number);
  }
  return nics;
}

}  // namespace orrery
