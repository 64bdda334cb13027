#pragma once
// What a cluster's network is made of, as text and as JSON: `orrery topology show`.
#include <string>

#include "core/cluster.hpp"
#include "sim/network/fabric_summary.hpp"

namespace orrery {

std::string topology_text(const Cluster& cluster, const FabricSummary& fabric);
std::string topology_json(const Cluster& cluster, const FabricSummary& fabric);

}  // namespace orrery
