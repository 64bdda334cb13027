#pragma once
// Where the GPUs of a layout lie. Pipeline ranks are outermost: each takes GPUs / pp consecutive
// GPUs, so that its expert-parallel groups fill whole nodes; tensor-parallel neighbours are
// innermost, in one node.
#include <vector>

#include "core/cluster.hpp"
#include "core/ids.hpp"
#include "core/layout.hpp"
#include "core/program.hpp"

namespace orrery {

struct Placement {
  int gpus_per_node = 1;
  int gpus_per_rank = 1;  // of one pipeline rank
  int tp = 1;

  // GPUs of one expert-parallel group that share a node.
  int expert_group_gpus_per_node(int ep) const;
  // Whether two neighbouring pipeline ranks talk inside a node (same tp index, same dp index).
  bool same_node(Rank a, Rank b) const;
  // How many of these pipeline ranks share a node; the fewest, where nodes differ.
  int ranks_in_node(const std::vector<Rank>& ranks) const;
};

Placement place(const Cluster& cluster, const Layout& layout);

// What one GPU sends in a ring reduce-scatter or all-gather of `payload` over `group` GPUs,
// `in_node` of which share a node: (n-1)/n of it over NVLink inside the node, then the node's 1/n
// share over the NICs between `group / in_node` nodes. An all-reduce is both, twice as much.
Wire collective_wire(Pattern pattern, Bytes payload, int group, int in_node);

}  // namespace orrery
