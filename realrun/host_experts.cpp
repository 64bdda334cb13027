// Routed and shared experts on the host (workload/moe_ops.cpp).
#include <algorithm>

#include "kernels/elementwise.hpp"
#include "kernels/grouped_gemm.hpp"
#include "kernels/permute.hpp"
#include "kernels/swiglu.hpp"
#include "realrun/host_math.hpp"
#include "realrun/host_tables.hpp"

namespace orrery::host {
namespace {

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

template <class T>
kernels::PermuteShape permute_shape(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  return {received_tokens(frame, s.top_k), s.top_k, static_cast<std::int32_t>(s.first_expert),
          s.local_experts};
}

// ---------------------------------------------------------------------------------------------------------------------
// Forward

template <class T>
Tensor<T>& shared_input(RankState<T>& rank, Frame<T>& frame) {
  return divided(rank) ? frame.mlp_gathered : frame.mlp_normed;
}

template <class T>
void shared_fc1(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear(s.tokens, 2 * s.shared, s.hidden, shared_input(rank, frame).get(),
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
  kernels::expand_rows<T>(rows(frame), s.hidden, frame.token_of_row.get(), frame.received.get(),
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
  kernels::grouped_forward<T>(
      fc1_shape(rank, frame), frame.rows_in.get(), rank.weight(frame, Param::kExpertFc1).quantised,
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
  kernels::swiglu_forward<T>(
      {rows(frame), rank.sizes.inter}, frame.rows_fc1.get(), frame.row_weights.get(),
      frame.rows_act.make(rank.kept_without_recompute(frame), rows(frame) * rank.sizes.inter));
  if (rank.fp8()) quantise_rows(frame.rows_act, rank.sizes.inter);
}

template <class T>
void routed_fc2(RankState<T>& rank, Frame<T>& frame) {
  kernels::grouped_forward<T>(
      fc2_shape(rank, frame), frame.rows_act.get(), rank.weight(frame, Param::kExpertFc2).quantised,
      frame.rows_out.make(frame.transient, rows(frame) * rank.sizes.hidden));
  if (rank.plan.layout.recompute != Recompute::kNone) frame.rows_act.drop();
}

template <class T>
void reduce(RankState<T>& rank, Frame<T>& frame) {
  const kernels::PermuteShape shape = permute_shape(rank, frame);
  kernels::reduce_rows<T>(shape, rank.sizes.hidden, frame.row_of.get(), frame.rows_out.get(),
                          frame.reduced.make(frame.transient, shape.tokens * rank.sizes.hidden));
  frame.rows_out.drop();
}

template <class T>
void shared_swiglu(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  kernels::swiglu_forward<T>(
      {s.tokens, s.shared}, frame.fc1.get(), nullptr,
      frame.act.make(rank.kept_without_recompute(frame), s.tokens * s.shared));
  if (rank.fp8()) quantise_rows(frame.act, s.shared);
}

template <class T>
void shared_fc2(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear(s.tokens, s.hidden, s.shared, frame.act.get(),
         rank.weight(frame, Param::kSharedFc2).quantised,
         frame.fc2.make(frame.transient, s.tokens * s.hidden));
  if (rank.plan.layout.recompute != Recompute::kNone) frame.act.drop();
}

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
  if (rank.fp8()) quantise_rows(operand, s.hidden);
  linear_input_gradient(s.tokens, s.hidden, s.shared, operand.get(),
                        rank.weight(frame, Param::kSharedFc2).quantised,
                        frame.act_gradient.make(frame.transient, s.tokens * s.shared));
}

template <class T>
void shared_swiglu_again(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  kernels::swiglu_forward<T>({s.tokens, s.shared}, frame.fc1.get(), nullptr,
                             frame.act_operand.make(frame.operands, s.tokens * s.shared));
  if (rank.fp8()) quantise_columns(frame.act_operand, s.shared);
}

template <class T>
void shared_swiglu_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (!frame.act_operand.made()) frame.act_operand.take(frame.operands, frame.act);
  kernels::swiglu_backward_input<T>(
      {s.tokens, s.shared}, frame.fc1.get(), nullptr, frame.act_gradient.get(),
      frame.fc1_gradient.make(frame.transient, s.tokens * 2 * s.shared));
  frame.act_gradient.drop();
  frame.fc1_operand.copy(frame.operands, frame.fc1_gradient);
}

template <class T>
void expand_gradient(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  receive_own_gradient(rank, frame);
  kernels::expand_rows<T>(rows(frame), s.hidden, frame.token_of_row.get(),
                          frame.received_gradient.get(),
                          frame.rows_gradient.make(frame.transient, rows(frame) * s.hidden));
  if (rank.fp8()) quantise_rows(frame.rows_gradient, s.hidden);
  weigh_rows(rank, frame);
}

template <class T>
void routed_fc2_dgrad(RankState<T>& rank, Frame<T>& frame) {
  kernels::grouped_input_gradient<T>(
      fc2_shape(rank, frame), frame.rows_gradient.get(),
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
    kernels::swiglu_forward<T>(shape, frame.rows_fc1.get(), frame.row_weights.get(),
                               frame.rows_act_operand.make(frame.operands, rows(frame) * inter));
  }
  kernels::swiglu_backward_input<T>(
      shape, frame.rows_fc1.get(), frame.row_weights.get(), frame.rows_act_gradient.get(),
      frame.rows_fc1_gradient.make(frame.transient, rows(frame) * 2 * inter));
  frame.rows_fc1_operand.copy(frame.operands, frame.rows_fc1_gradient);
}

template <class T>
void routing_weight_gradient(RankState<T>& rank, Frame<T>& frame) {
  kernels::swiglu_row_weight_gradient<T>(
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
  kernels::grouped_input_gradient<T>(
      fc1_shape(rank, frame), frame.rows_fc1_gradient.get(),
      rank.weight(frame, Param::kExpertFc1).quantised,
      frame.rows_in_gradient.make(frame.transient, rows(frame) * rank.sizes.hidden));
  frame.rows_fc1_gradient.drop();
}

template <class T>
void reduce_gradient(RankState<T>& rank, Frame<T>& frame) {
  const kernels::PermuteShape shape = permute_shape(rank, frame);
  kernels::reduce_rows<T>(
      shape, rank.sizes.hidden, frame.row_of.get(), frame.rows_in_gradient.get(),
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
  linear_input_gradient(s.tokens, 2 * s.shared, s.hidden, frame.fc1_gradient.get(),
                        rank.weight(frame, Param::kSharedFc1).quantised,
                        frame.mlp_input_gradient.make(frame.transient, s.tokens * s.hidden));
  frame.fc1_gradient.drop();
}

// ---------------------------------------------------------------------------------------------------------------------
// Weight gradients

template <class T>
void shared_fc2_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear_weight_gradient(s.tokens, s.hidden, s.shared, frame.gathered_operand.get(),
                         frame.act_operand.get(), rank.gradient(frame, Param::kSharedFc2));
}

template <class T>
void shared_fc1_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear_weight_gradient(s.tokens, 2 * s.shared, s.hidden, frame.fc1_operand.get(),
                         frame.mlp_operand.get(), rank.gradient(frame, Param::kSharedFc1));
}

// Rows of the experts from the tokens received, again: they are kept once a token only.
template <class T>
T* expand_for_weights(RankState<T>& rank, Frame<T>& frame, Tensor<T>& source, Tensor<T>& expanded) {
  const std::int64_t hidden = rank.sizes.hidden;
  T* values = expanded.make(frame.transient, rows(frame) * hidden);
  kernels::expand_rows<T>(rows(frame), hidden, frame.token_of_row.get(), source.get(), values);
  if (rank.fp8()) quantise_columns(expanded, hidden);
  return values;
}

template <class T>
void routed_fc2_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const auto experts = static_cast<int>(rank.sizes.local_experts);
  Tensor<T> expanded("expanded gradients");
  const T* gradient = expand_for_weights(rank, frame, frame.received_gradient, expanded);
  kernels::grouped_weight_gradient<T>(fc2_shape(rank, frame), frame.rows_act_operand.get(),
                                      gradient, rank.gradient(frame, Param::kExpertFc2, experts));
}

template <class T>
void routed_fc1_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const auto experts = static_cast<int>(rank.sizes.local_experts);
  Tensor<T> expanded("expanded rows");
  const T* input = expand_for_weights(rank, frame, frame.received, expanded);
  kernels::grouped_weight_gradient<T>(fc1_shape(rank, frame), input, frame.rows_fc1_operand.get(),
                                      rank.gradient(frame, Param::kExpertFc1, experts));
}

// ---------------------------------------------------------------------------------------------------------------------
// By name

template <class T>
constexpr NamedOp<T> kForward[] = {
    {"shared fc1 fprop", shared_fc1<T>},
    {"count rows of experts", count_rows<T>},
    {"map tokens to rows", map_rows<T>},
    {"expand dispatched tokens", expand<T>},
    {"fill tensor maps", nullptr},
    {"routed fc1 fprop", routed_fc1<T>},
    {"scale routing weights", weigh_rows<T>},
    {"routed SwiGLU", routed_swiglu<T>},
    {"routed fc2 fprop", routed_fc2<T>},
    {"reduce expanded rows", reduce<T>},
    {"shared SwiGLU", shared_swiglu<T>},
    {"shared fc2 fprop", shared_fc2<T>},
    {"cast routed fc1 output for caching",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(frame.rows_fc1, 2 * rank.sizes.inter);
     }},
    {"cast shared fc1 output for caching",
     [](RankState<T>& rank, Frame<T>& frame) { quantise_rows(frame.fc1, 2 * rank.sizes.shared); }}};

template <class T>
constexpr NamedOp<T> kInputGradient[] = {
    {"cast shared fc1 output back", nullptr},  // stored as values
    {"shared fc2 dgrad", shared_fc2_dgrad<T>},
    {"cast and transpose shared dY",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.gathered_operand, rank.sizes.hidden);
     }},
    {"shared SwiGLU recompute", shared_swiglu_again<T>},
    {"shared SwiGLU backward", shared_swiglu_backward<T>},
    {"cast routed fc1 output back", nullptr},  // stored as values
    {"expand dispatched dY", expand_gradient<T>},
    {"routed fc2 dgrad", routed_fc2_dgrad<T>},
    {"routed SwiGLU backward", routed_swiglu_backward<T>},
    {"routing weight gradient", routing_weight_gradient<T>},
    {"cast and transpose routed fc2 input",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.rows_act_operand, rank.sizes.inter);
     }},
    {"scale routing weights", scatter_weight_gradient<T>},
    {"pre-MoE norm recompute", norm_again<T>},
    {"cast recomputed MoE input", nullptr},  // the operand is cast where it is made
    {"cast routed dH",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(frame.rows_fc1_gradient, 2 * rank.sizes.inter);
     }},
    {"routed fc1 dgrad", routed_fc1_dgrad<T>},
    {"reduce expanded rows", reduce_gradient<T>},
    {"cast and transpose routed dH",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.rows_fc1_operand, 2 * rank.sizes.inter);
     }},
    {"cast shared expert input back", nullptr},
    {"cast shared dH",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(frame.fc1_gradient, 2 * rank.sizes.shared);
     }},
    {"shared fc1 dgrad", shared_fc1_dgrad<T>},
    {"cast and transpose shared dH",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.fc1_operand, 2 * rank.sizes.shared);
     }},
    {"cast and transpose shared X", [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.mlp_operand, rank.sizes.hidden);
     }}};

template <class T>
constexpr NamedOp<T> kWeightGradient[] = {
    {"shared fc2 wgrad", shared_fc2_wgrad<T>},
    {"cast and transpose routed dY", nullptr},  // in the weight gradient, from what was received
    {"routed fc2 wgrad", routed_fc2_wgrad<T>},
    {"cast and transpose routed X", nullptr},
    {"routed fc1 wgrad", routed_fc1_wgrad<T>},
    {"shared fc1 wgrad", shared_fc1_wgrad<T>}};

}  // namespace

template <class T>
OpTable<T> expert_ops(Pass pass) {
  switch (pass) {
    case Pass::kF: return kForward<T>;
    case Pass::kI: return kInputGradient<T>;
    case Pass::kW: return kWeightGradient<T>;
  }
  return {};
}

template OpTable<float> expert_ops<float>(Pass);
template OpTable<double> expert_ops<double>(Pass);

}  // namespace orrery::host
