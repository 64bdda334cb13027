#pragma once
// Private to the lowering: the works of one entry of a stage map, cut where streams and passes
// change.
//
//   forward   pre -> attention -> dispatch -> mlp -> combine -> post
//   backward  post -> combine -> mlp -> dispatch -> attention -> pre      (input gradients)
//   weights   post, mlp, attention, pre                                   (each after its input
//   gradient)
//
// pre is the embedding lookup or the MTP projection, post an output head with its loss. The
// gradient of combine is an EP dispatch and the gradient of dispatch an EP combine.
#include <vector>

#include "core/program.hpp"
#include "workload/lifetimes.hpp"
#include "workload/shard.hpp"

namespace orrery {

using Chain = std::vector<WorkId>;  // in order, each after the one before

struct UnitWorks {
  Chain f_pre, f_attention, f_dispatch, f_mlp, f_combine, f_post;
  Chain i_post, i_combine, i_mlp, i_dispatch, i_attention, i_pre;
  Chain w_post, w_mlp, w_attention, w_pre;
  Lifetimes memory;
  bool exchanges() const { return !f_dispatch.empty(); }
};

// Appends the works of `kind` to `works`. `group_gpus_per_node`: GPUs of an expert-parallel group
// in one node.
UnitWorks make_unit(std::vector<Work>& works, const Shard& shard, LayerKind kind,
                    int group_gpus_per_node);

}  // namespace orrery
