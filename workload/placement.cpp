#include "workload/placement.hpp"

#include <algorithm>

namespace orrery {

int Placement::expert_group_gpus_per_node(int ep) const {
  const int node = std::min(gpus_per_node, gpus_per_rank);
  const int fold = expert_fold(ep);
  // Whole tensor-parallel groups, or a part of one.
  const int members = node >= tp ? node / tp * fold : std::min(fold, node / etp);
  return std::clamp(members, 1, std::max(ep, 1));
}

int Placement::expert_fold(int ep) const {
  return orrery::expert_fold(std::max(ep, 1), std::max(1, gpus_per_rank / tp));
}

bool Placement::same_node(Rank a, Rank b) const {
  return a.value * gpus_per_rank / gpus_per_node == b.value * gpus_per_rank / gpus_per_node;
}

int Placement::ranks_in_node(const std::vector<Rank>& ranks) const {
  if (gpus_per_rank >= gpus_per_node || ranks.empty()) return 1;
  const auto beside = [&](Rank own) {
    return std::count_if(ranks.begin(), ranks.end(),
                         [&](Rank other) { return same_node(own, other); });
  };
  auto fewest = beside(ranks.front());
  for (Rank rank : ranks) fewest = std::min(fewest, beside(rank));
  return static_cast<int>(fewest);
}

Placement place(const Cluster& cluster, const Layout& layout) {
  return {cluster.gpus_per_node, cluster.gpus() / layout.pp, layout.tp, layout.etp};
}

Wire collective_wire(Pattern pattern, Bytes payload, int group, int in_node) {
  const int inside = std::clamp(in_node, 1, group);
  const int nodes = (group + inside - 1) / inside;
  const double passes = pattern == Pattern::kAllReduce ? 2 : 1;
  // A ring passes everything but its own share from GPU to GPU, whole nodes' hops through their
  // NICs; trees stand on what a node has summed.
  const double between = pattern == Pattern::kAllReduce ? static_cast<double>(nodes - 1) / nodes
                                                        : static_cast<double>(group - 1) / group;
  const double within = pattern == Pattern::kAllReduce || nodes == 1
                            ? static_cast<double>(inside - 1) / inside
                            : static_cast<double>(group - 1) / group * (inside - 1) / inside;
  Wire wire;
  wire.pattern = pattern;
  wire.group = group;
  wire.in_node = inside;
  wire.logical = payload * (passes * (group - 1) / group);
  wire.nvlink = payload * (passes * within);
  if (nodes > 1) wire.nic = payload * (passes / inside * between);
  return wire;
}

}  // namespace orrery
