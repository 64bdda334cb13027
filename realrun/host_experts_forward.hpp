#pragma once
// Private to the ops of realrun: the forward of routed and shared experts on the host, op by op
// (workload/moe_ops.cpp).
#include <algorithm>

#include "kernels/permute.hpp"
#include "realrun/host_math.hpp"
#include "realrun/host_tables.hpp"

namespace orrery::host::experts {

template <class T>
bool divided(const RankState<T>& rank) {
  return rank.plan.layout.tp > 1;
}

template <class T>
std::int64_t received_tokens(Frame<T>& frame, std::int64_t top_k) {
  return frame.received_experts.size() / top_k;
}

template <class T>
std::int64_t rows(const Frame<T>& frame) {
  return frame.offsets.empty() ? 0 : frame.offsets.back();
}

// Tokens are dispatched as the cast before has stored them.
template <class T>
kernels::RowType dispatched_rows(const RankState<T>& rank) {
  return rank.fp8() ? kernels::RowType::kFp8 : kernels::RowType::kBf16;
}

template <class T>
kernels::PermuteShape permute_shape(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  return {received_tokens(frame, s.top_k), s.top_k, static_cast<std::int32_t>(s.first_expert),
          s.local_experts};
}

template <class T>
Tensor<T>& shared_input(RankState<T>& rank, Frame<T>& frame) {
  return divided(rank) ? frame.mlp_gathered : frame.mlp_normed;
}

template <class T>
void shared_fc1(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear({s.tokens, 2 * s.shared, s.hidden, layer_product(rank)},
                      shared_input(rank, frame).get(),
                      rank.weight(frame, Param::kSharedFc1).quantised,
                      frame.fc1.make(rank.kept(frame), s.tokens * 2 * s.shared));
}

template <class T>
void count_rows(RankState<T>& rank, Frame<T>& frame) {
  receive_own_tokens(rank, frame);
  frame.offsets.assign(static_cast<std::size_t>(rank.sizes.local_experts) + 1, 0);
  kernels::count_expert_rows(permute_shape(rank, frame), frame.received_experts.get(),
                             frame.offsets.data());
  rank.rows_seen = {static_cast<double>(rows(frame)),
                    static_cast<double>(received_tokens(frame, rank.sizes.top_k))};
}

template <class T>
void map_rows(RankState<T>& rank, Frame<T>& frame) {
  const kernels::PermuteShape shape = permute_shape(rank, frame);
  Lifetime& kept = rank.kept_for_weights(frame);
  kernels::map_rows(shape, frame.received_experts.get(), frame.offsets.data(),
                    frame.row_of.make(kept, shape.tokens * shape.slots),
                    frame.token_of_row.make(kept, rows(frame)),
                    frame.slot_of_row.make(kept, rows(frame)));
}

template <class T>
void expand(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.expand_rows(rows(frame), s.hidden, dispatched_rows(rank),
                           received_tokens(frame, s.top_k), frame.token_of_row.get(),
                           frame.received.get(),
                           frame.rows_in.make(frame.transient, rows(frame) * s.hidden));
}

template <class T>
kernels::GroupedShape fc1_shape(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  return {s.local_experts, 2 * s.inter, s.hidden, frame.offsets.data()};
}
template <class T>
kernels::GroupedShape fc2_shape(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  return {s.local_experts, s.hidden, s.inter, frame.offsets.data()};
}

template <class T>
void routed_fc1(RankState<T>& rank, Frame<T>& frame) {
  rank.kernels.grouped_forward(
      fc1_shape(rank, frame), layer_product(rank), frame.rows_in.get(),
      rank.weight(frame, Param::kExpertFc1).quantised,
      frame.rows_fc1.make(rank.kept(frame), rows(frame) * 2 * rank.sizes.inter));
  frame.rows_in.drop();
}

template <class T>
void weigh_rows(RankState<T>& rank, Frame<T>& frame) {
  kernels::gather_row_weights<T>(rows(frame), rank.sizes.top_k, frame.token_of_row.get(),
                                 frame.slot_of_row.get(), frame.received_weights.get(),
                                 frame.row_weights.make(frame.transient, rows(frame)));
}

template <class T>
void routed_swiglu(RankState<T>& rank, Frame<T>& frame) {
  rank.kernels.swiglu_forward(
      {rows(frame), rank.sizes.inter}, frame.rows_fc1.get(), frame.row_weights.get(),
      frame.rows_act.make(rank.kept_without_recompute(frame), rows(frame) * rank.sizes.inter));
  if (rank.fp8()) quantise_rows(rank, frame.rows_act, rank.sizes.inter);
}

template <class T>
void routed_fc2(RankState<T>& rank, Frame<T>& frame) {
  rank.kernels.grouped_forward(
      fc2_shape(rank, frame), layer_product(rank), frame.rows_act.get(),
      rank.weight(frame, Param::kExpertFc2).quantised,
      frame.rows_out.make(frame.transient, rows(frame) * rank.sizes.hidden));
  if (rank.plan.layout.recompute != Recompute::kNone) frame.rows_act.drop();
}

template <class T>
void reduce(RankState<T>& rank, Frame<T>& frame) {
  const kernels::PermuteShape shape = permute_shape(rank, frame);
  rank.kernels.reduce_rows(shape, rank.sizes.hidden, rows(frame), frame.row_of.get(),
                           frame.rows_out.get(),
                           frame.reduced.make(frame.transient, shape.tokens * rank.sizes.hidden));
  frame.rows_out.drop();
}

template <class T>
void shared_swiglu(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.swiglu_forward(
      {s.tokens, s.shared}, frame.fc1.get(), nullptr,
      frame.act.make(rank.kept_without_recompute(frame), s.tokens * s.shared));
  if (rank.fp8()) quantise_rows(rank, frame.act, s.shared);
}

template <class T>
void shared_fc2(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear({s.tokens, s.hidden, s.shared, layer_product(rank)}, frame.act.get(),
                      rank.weight(frame, Param::kSharedFc2).quantised,
                      frame.fc2.make(frame.transient, s.tokens * s.hidden));
  if (rank.plan.layout.recompute != Recompute::kNone) frame.act.drop();
}

}  // namespace orrery::host::experts
