#pragma once
// Private to the ops of realrun: the gradients of routed and shared experts on the host, op by op:
// of the inputs, the FP8 operands that they keep, then of the weights.
#include "realrun/host_experts_forward.hpp"

namespace orrery::host::experts {

// ---------------------------------------------------------------------------------------------------------------------
// Input gradient

template <class T>
void shared_fc2_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  take_gradient(rank, frame);
  if (!frame.gathered_operand.made())
    frame.gathered_operand.copy(frame.operands, frame.out_gradient);
  Tensor<T> operand("output gradient of the shared expert");
  operand.copy(frame.transient, frame.gathered_operand);
  if (rank.fp8()) quantise_rows(rank, operand, s.hidden);
  rank.kernels.linear_input_gradient({s.tokens, s.hidden, s.shared, layer_product(rank)},
                                     operand.get(), rank.weight(frame, Param::kSharedFc2).quantised,
                                     frame.act_gradient.make(frame.transient, s.tokens * s.shared),
                                     false);
}

template <class T>
void shared_swiglu_again(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.swiglu_forward({s.tokens, s.shared}, frame.fc1.get(), nullptr,
                              frame.act_operand.make(frame.operands, s.tokens * s.shared));
  if (rank.fp8()) quantise_columns(rank, frame.act_operand, s.shared);
}

template <class T>
void shared_swiglu_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (!frame.act_operand.made()) frame.act_operand.take(frame.operands, frame.act);
  rank.kernels.swiglu_backward_input(
      {s.tokens, s.shared}, frame.fc1.get(), nullptr, frame.act_gradient.get(),
      frame.fc1_gradient.make(frame.transient, s.tokens * 2 * s.shared));
  frame.act_gradient.drop();
  frame.fc1_operand.copy(frame.operands, frame.fc1_gradient);
}

template <class T>
void expand_gradient(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  receive_own_gradient(rank, frame);
  rank.kernels.expand_rows(rows(frame), s.hidden, kernels::RowType::kBf16,
                           received_tokens(frame, s.top_k), frame.token_of_row.get(),
                           frame.received_gradient.get(),
                           frame.rows_gradient.make(frame.transient, rows(frame) * s.hidden));
  if (rank.fp8()) quantise_rows(rank, frame.rows_gradient, s.hidden);
  weigh_rows(rank, frame);
}

template <class T>
void routed_fc2_dgrad(RankState<T>& rank, Frame<T>& frame) {
  rank.kernels.grouped_input_gradient(
      fc2_shape(rank, frame), layer_product(rank), frame.rows_gradient.get(),
      rank.weight(frame, Param::kExpertFc2).quantised,
      frame.rows_act_gradient.make(frame.transient, rows(frame) * rank.sizes.inter));
  frame.rows_gradient.drop();
}

template <class T>
void routed_swiglu_backward(RankState<T>& rank, Frame<T>& frame) {
  const std::int64_t inter = rank.sizes.inter;
  const kernels::SwigluShape shape{rows(frame), inter};
  if (rank.plan.layout.recompute == Recompute::kNone) {
    frame.rows_act_operand.take(frame.operands, frame.rows_act);
  } else {
    rank.kernels.swiglu_forward(shape, frame.rows_fc1.get(), frame.row_weights.get(),
                                frame.rows_act_operand.make(frame.operands, rows(frame) * inter));
  }
  rank.kernels.swiglu_backward_input(
      shape, frame.rows_fc1.get(), frame.row_weights.get(), frame.rows_act_gradient.get(),
      frame.rows_fc1_gradient.make(frame.transient, rows(frame) * 2 * inter));
  frame.rows_fc1_operand.copy(frame.operands, frame.rows_fc1_gradient);
}

template <class T>
void routing_weight_gradient(RankState<T>& rank, Frame<T>& frame) {
  rank.kernels.swiglu_row_weight_gradient(
      {rows(frame), rank.sizes.inter}, frame.rows_fc1.get(), frame.rows_act_gradient.get(),
      frame.row_weights_gradient.make(frame.transient, rows(frame)));
  frame.rows_act_gradient.drop();
}

template <class T>
void scatter_weight_gradient(RankState<T>& rank, Frame<T>& frame) {
  const kernels::PermuteShape shape = permute_shape(rank, frame);
  kernels::scatter_row_weights<T>(
      shape, frame.row_of.get(), frame.row_weights_gradient.get(),
      frame.received_weights_gradient.make(frame.transient, shape.tokens * shape.slots));
}

template <class T>
void norm_again(RankState<T>& rank, Frame<T>& frame) {
  norm_experts_input(rank, frame);
}

template <class T>
void routed_fc1_dgrad(RankState<T>& rank, Frame<T>& frame) {
  rank.kernels.grouped_input_gradient(
      fc1_shape(rank, frame), layer_product(rank), frame.rows_fc1_gradient.get(),
      rank.weight(frame, Param::kExpertFc1).quantised,
      frame.rows_in_gradient.make(frame.transient, rows(frame) * rank.sizes.hidden));
  frame.rows_fc1_gradient.drop();
}

template <class T>
void reduce_gradient(RankState<T>& rank, Frame<T>& frame) {
  const kernels::PermuteShape shape = permute_shape(rank, frame);
  rank.kernels.reduce_rows(
      shape, rank.sizes.hidden, rows(frame), frame.row_of.get(), frame.rows_in_gradient.get(),
      frame.reduced_gradient.make(frame.transient, shape.tokens * rank.sizes.hidden));
  frame.rows_in_gradient.drop();
  return_own_gradient(rank, frame);
}

template <class T>
void shared_fc1_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (!frame.mlp_operand.made()) {
    norm_experts_input(rank, frame);
    frame.mlp_operand.copy(frame.operands, divided(rank) ? frame.mlp_gathered : frame.mlp_normed);
  }
  rank.kernels.linear_input_gradient(
      {s.tokens, 2 * s.shared, s.hidden, layer_product(rank)}, frame.fc1_gradient.get(),
      rank.weight(frame, Param::kSharedFc1).quantised,
      frame.mlp_input_gradient.make(frame.transient, s.tokens * s.hidden), false);
  frame.fc1_gradient.drop();
}

// ---------------------------------------------------------------------------------------------------------------------
// Weight gradients

template <class T>
void shared_fc2_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient({s.tokens, s.hidden, s.shared, layer_product(rank)},
                                      frame.gathered_operand.get(), frame.act_operand.get(),
                                      rank.gradient(frame, Param::kSharedFc2));
}

template <class T>
void shared_fc1_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient({s.tokens, 2 * s.shared, s.hidden, layer_product(rank)},
                                      frame.fc1_operand.get(), frame.mlp_operand.get(),
                                      rank.gradient(frame, Param::kSharedFc1));
}

// Rows of the experts from the tokens received, again: they are kept once a token only.
template <class T>
T* expand_for_weights(RankState<T>& rank, Frame<T>& frame, kernels::RowType type, Tensor<T>& source,
                      Tensor<T>& expanded) {
  const std::int64_t hidden = rank.sizes.hidden;
  T* values = expanded.make(frame.transient, rows(frame) * hidden);
  rank.kernels.expand_rows(rows(frame), hidden, type, received_tokens(frame, rank.sizes.top_k),
                           frame.token_of_row.get(), source.get(), values);
  if (rank.fp8()) quantise_columns(rank, expanded, hidden);
  return values;
}

template <class T>
void routed_fc2_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const auto experts = static_cast<int>(rank.sizes.local_experts);
  Tensor<T> expanded("expanded gradients");
  const T* gradient =
      expand_for_weights(rank, frame, kernels::RowType::kBf16, frame.received_gradient, expanded);
  rank.kernels.grouped_weight_gradient(fc2_shape(rank, frame), layer_product(rank),
                                       frame.rows_act_operand.get(), gradient,
                                       rank.gradient(frame, Param::kExpertFc2, experts));
}

template <class T>
void routed_fc1_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const auto experts = static_cast<int>(rank.sizes.local_experts);
  Tensor<T> expanded("expanded rows");
  const T* input = expand_for_weights(rank, frame, dispatched_rows(rank), frame.received, expanded);
  rank.kernels.grouped_weight_gradient(fc1_shape(rank, frame), layer_product(rank), input,
                                       frame.rows_fc1_operand.get(),
                                       rank.gradient(frame, Param::kExpertFc1, experts));
}

}  // namespace orrery::host::experts
