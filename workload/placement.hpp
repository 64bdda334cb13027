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
  int etp = 1;

  // expert_fold of a layout so placed.
  int expert_fold(int ep) const;
  // GPUs of one expert-parallel group that share a node.
  int expert_group_gpus_per_node(int ep) const;
  // Whether two neighbouring pipeline ranks talk inside a node (same tp index, same dp index).
  bool same_node(Rank a, Rank b) const;
  // How many of these pipeline ranks share a node; the fewest, where nodes differ.
  int ranks_in_node(const std::vector<Rank>& ranks) const;
};

Placement place(const Cluster& cluster, const Layout& layout);

// What one GPU sends in a collective over `payload`, of a group of which `in_node` GPUs share each
// node. Reduce-scatter and all-gather are rings over all of them: (n-1)/n of the payload, of which
// every in_node-th hop goes through a NIC. An all-reduce, often trees over what each node has
// summed, sends 2 (in_node-1)/in_node over NVLink and 2/in_node x (nodes-1)/nodes through the NICs;
// a ring's bytes are the same but for the last GPU of each node. What NCCL chooses changes its time
// (sim/nccl_model.hpp), not these.
Wire collective_wire(Pattern pattern, Bytes payload, int group, int in_node);

}  // namespace orrery
