#include "core/cluster_part.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace orrery {

std::optional<std::string> why_no_part(const Cluster& cluster, int gpus) {
  if (gpus == cluster.gpus()) return std::nullopt;
  if (gpus < 1) return "there must be 1 at least";
  if (gpus > cluster.gpus()) return fmt::format("{} has {}", cluster.name, cluster.gpus());
  if (gpus % cluster.gpus_per_node != 0)
    return fmt::format("the nodes of {} have {} each", cluster.name, cluster.gpus_per_node);
  if (cluster.fabric.kind == FabricKind::kCustom)
    return fmt::format("the fabric of {} is an edge list, of which no part can be taken",
                       cluster.name);
  return std::nullopt;
}

Cluster cluster_part(Cluster cluster, int gpus) {
  ORRERY_CHECK(!why_no_part(cluster, gpus), "no part of {} has {} GPUs", cluster.name, gpus);
  cluster.nodes = gpus / cluster.gpus_per_node;
  return cluster;
}

}  // namespace orrery
