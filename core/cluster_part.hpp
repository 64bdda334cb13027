#pragma once
// The same cluster with fewer nodes: its first ones, under the same fabric.
#include <optional>
#include <string>

#include "core/cluster.hpp"

namespace orrery {

// Why there is no part with so many GPUs, as the end of a sentence; nothing if there is one.
std::optional<std::string> why_no_part(const Cluster& cluster, int gpus);

// There must be such a part.
Cluster cluster_part(Cluster cluster, int gpus);

}  // namespace orrery
