#pragma once
// Where a token's copies go: how many distinct nodes and GPUs its experts lie on.
//
// The gate of DeepSeek-V3 (report, section 2.1.2): sigmoid affinities; the groups (nodes) with the
// largest sums of their two best affinities are kept, `groups_per_token` of them; the top_k experts
// are chosen inside. Without groups it is a plain top-k. The spread is estimated by drawing
// independent normal logits with a fixed seed; for DeepSeek-V3 on 8 nodes it gives 3.965 nodes
// and 7.49 GPUs a token.
#include <cstdint>
#include <vector>

#include "core/model.hpp"

namespace orrery {

struct RoutingSpread {
  double nodes_per_token = 1;  // distinct nodes, the token's own included when it is a target
  double remote_nodes_per_token = 0;  // of these, not the token's own node
  double gpus_per_token = 1;          // distinct GPUs of the expert-parallel group
  bool operator==(const RoutingSpread&) const = default;
};

// Expert choices of a sample of tokens, drawn once and then read for any expert-parallel size.
class RoutingSample {
 public:
  static constexpr int kTokens = 8192;  // standard error of nodes_per_token about 0.002
  explicit RoutingSample(const Moe& moe, std::uint64_t seed = 1, int tokens = kTokens);

  // Experts lie in order on the `ep` GPUs of the group, `group_gpus_per_node` of which share a
  // node.
  RoutingSpread spread(int ep, int group_gpus_per_node) const;
  // Rows of each of `ep` GPUs over their mean.
  std::vector<double> rows(int ep) const;
  // Variance over tokens of how many of a token's choices fall into one group of the gate.
  double choices_in_group_variance() const;

 private:
  Moe moe_;
  std::vector<std::int32_t> chosen_;  // [token][top_k], expert numbers
};

}  // namespace orrery
