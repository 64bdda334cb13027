// The gate of an expert layer on the host: norm, scores, choice, weights, and back
// (workload/moe_ops.cpp). Its ops run in the attention's works.
#include "kernels/router.hpp"
#include "realrun/host_math.hpp"
#include "realrun/host_tables.hpp"

namespace orrery::host {
namespace {

template <class T>
kernels::RouterShape router_shape(const RankState<T>& rank) {
  const Moe& moe = rank.plan.model.moe;
  return {rank.sizes.local, rank.sizes.experts, moe.groups, moe.groups_per_token, rank.sizes.top_k};
}

template <class T>
kernels::BalanceLoss balance(RankState<T>& rank, Frame<T>& frame) {
  return {rank.recipe.balance_weight, rank.sizes.length, rank.sequence_of_local.data(),
          frame.sequence_counts.data()};
}

template <class T>
void pre_norm(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  norm(rank, frame, Param::kExpertsNorm, s.local, s.hidden, frame.middle.get(), frame.mlp_normed,
       frame.transient, frame.mlp_rms);
}

template <class T>
void pre_norm_again(RankState<T>& rank, Frame<T>& frame) {
  if (!frame.mlp_normed.made() || !frame.mlp_rms.made()) pre_norm(rank, frame);
}

template <class T>
void gate(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear({s.local, s.experts, s.hidden, kernels::ProductType::kFloat},
                      frame.mlp_normed.get(), rank.weight(frame, Param::kRouter).value,
                      frame.logits.make(frame.transient, s.local * s.experts));
}

// Scores first: every way of choosing needs them, and a gate without groups starts at the experts.
template <class T>
void score(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.router_scores(router_shape(rank), frame.logits.get(),
                             frame.scores.make(rank.kept(frame), s.local * s.experts));
}

template <class T>
void choose_groups(RankState<T>& rank, Frame<T>& frame) {
  const kernels::RouterShape shape = router_shape(rank);
  score(rank, frame);
  rank.kernels.router_choose_groups(
      shape, frame.scores.get(), rank.routing_bias.at({frame.stage, frame.layer}).data(),
      frame.groups.make(frame.transient, shape.tokens * shape.groups));
}

template <class T>
void choose_experts(RankState<T>& rank, Frame<T>& frame) {
  const kernels::RouterShape shape = router_shape(rank);
  if (shape.groups == 1) {
    score(rank, frame);
    std::fill_n(frame.groups.make(frame.transient, shape.tokens), shape.tokens, 1);
  }
  rank.kernels.router_choose_experts(
      shape, frame.scores.get(), rank.routing_bias.at({frame.stage, frame.layer}).data(),
      frame.groups.get(), frame.choice.make(rank.kept(frame), shape.tokens * shape.top_k));
  if (rank.routing != nullptr) {
    rank.routing->settle({frame.stage, frame.direction, frame.layer, frame.microbatch},
                         {frame.choice.get(), static_cast<std::size_t>(frame.choice.size())});
  }
}

template <class T>
void weigh(RankState<T>& rank, Frame<T>& frame) {
  const kernels::RouterShape shape = router_shape(rank);
  rank.kernels.router_weights(shape, frame.scores.get(), frame.choice.get(),
                              rank.recipe.routed_scale,
                              frame.weights.make(rank.kept(frame), shape.tokens * shape.top_k));
  const auto experts = static_cast<std::size_t>(shape.experts);
  frame.expert_counts.assign(experts, 0);
  kernels::router_count(shape, frame.choice.get(), frame.expert_counts.data());
  frame.sequence_counts.assign(static_cast<std::size_t>(rank.sizes.sequences) * experts, 0);
  kernels::router_count_by_sequence(shape, frame.choice.get(), rank.sequence_of_local.data(),
                                    frame.sequence_counts.data());
}

// The gradient of the normed input: what came back from the experts, what the shared expert gave,
// and the gate's own.
template <class T>
void backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  const kernels::RouterShape shape = router_shape(rank);
  const kernels::BalanceLoss loss = balance(rank, frame);
  frame.balance_loss =
      static_cast<double>(kernels::balance_loss_terms<T>(shape, loss, frame.scores.get()));
  rank.kernels.router_backward(shape, frame.scores.get(), frame.choice.get(),
                               rank.recipe.routed_scale, frame.weights_gradient.get(), &loss,
                               rank.sequence_scale,
                               frame.logits_gradient.make(frame.transient, s.local * s.experts));
}

template <class T>
void gate_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_input_gradient(
      {s.local, s.experts, s.hidden, kernels::ProductType::kBf16}, frame.logits_gradient.get(),
      rank.weight(frame, Param::kRouter).value, frame.routed_gradient.get(), true);
}

template <class T>
void gate_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  pre_norm_again(rank, frame);
  rank.kernels.linear_weight_gradient({s.local, s.experts, s.hidden, kernels::ProductType::kBf16},
                                      frame.logits_gradient.get(), frame.mlp_normed.get(),
                                      rank.gradient(frame, Param::kRouter));
}

template <class T>
void add_shared(RankState<T>& rank, Frame<T>& frame) {
  if (!frame.mlp_input_gradient.made()) return;
  accumulate(rank, rank.sizes.local * rank.sizes.hidden, frame.mlp_input_gradient.get(),
             frame.routed_gradient.get());
  frame.mlp_input_gradient.drop();
}

template <class T>
void pre_norm_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  const std::int64_t elements = s.local * s.hidden;
  norm_backward(rank, frame, Param::kExpertsNorm, s.local, s.hidden, frame.middle.get(),
                frame.mlp_rms, frame.routed_gradient.get(),
                frame.middle_gradient.make(frame.transient, elements));
  accumulate(rank, elements, frame.out_gradient.get(), frame.middle_gradient.get());
  for (Tensor<T>* used : {&frame.routed_gradient, &frame.logits_gradient, &frame.mlp_normed,
                          &frame.weights_gradient, &frame.out_gradient})
    used->drop();
}

template <class T>
constexpr NamedOp<T> kForward[] = {
    {"pre-MoE norm", pre_norm<T>},
    {"router gate fprop", gate<T>},
    {"router group top-k", choose_groups<T>},
    {"router expert top-k", choose_experts<T>},
    {"router scores, masks, counters", weigh<T>},
    {"cast before dispatch", [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(rank, frame.mlp_normed, rank.sizes.hidden);
     }}};

template <class T>
constexpr NamedOp<T> kInputGradient[] = {{"router backward", backward<T>},
                                         {"router gate dgrad", gate_dgrad<T>},
                                         {"router gate wgrad", gate_wgrad<T>},
                                         {"add MoE input gradients", add_shared<T>},
                                         {"pre-MoE norm backward", pre_norm_backward<T>}};

}  // namespace

template <class T>
OpTable<T> router_ops(Pass pass) {
  switch (pass) {
    case Pass::kF: return kForward<T>;
    case Pass::kI: return kInputGradient<T>;
    case Pass::kW: break;
  }
  return {};
}

template <class T>
void norm_experts_input(RankState<T>& rank, Frame<T>& frame) {
  pre_norm_again(rank, frame);
}

template OpTable<float> router_ops<float>(Pass);
template OpTable<double> router_ops<double>(Pass);
template void norm_experts_input<float>(RankState<float>&, Frame<float>&);
template void norm_experts_input<double>(RankState<double>&, Frame<double>&);

}  // namespace orrery::host
