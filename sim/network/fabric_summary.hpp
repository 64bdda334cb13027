#pragma once
// A cluster's network in counts and money: what `orrery topology show` prints.
#include <string>
#include <vector>

#include "core/cluster.hpp"
#include "sim/network/fabric_graph.hpp"

namespace orrery {

struct SwitchLayer {
  std::string name;  // "leaf", "spine", "agg", "core"; "switch" in a custom fabric
  std::int64_t switches = 0;
  int most_ports_used = 0;
  std::int64_t cables_down = 0;  // to NICs or to the layer below; all in a custom fabric
  BytesPerSecond bandwidth;      // of all of them, one direction
};

struct FabricSummary {
  FabricSize size;  // endpoints: NICs
  std::int64_t nic_cables = 0;
  std::vector<SwitchLayer> layers;                  // from the NICs up
  int switches_nearest = 0, switches_farthest = 0;  // on the way between two nodes
  double cost_usd = 0;  // of switches and the cables between them; 0 where no price is given
  FabricSize largest;   // of this kind and radix, for trees; endpoints 0 elsewhere
};

FabricSummary summarise_fabric(const Cluster& cluster);

}  // namespace orrery
