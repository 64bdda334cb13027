// The dense MLP on the host (workload/edge_ops.cpp).
#include "realrun/host_math.hpp"
#include "realrun/host_tables.hpp"

namespace orrery::host {
namespace {

template <class T>
bool divided(const RankState<T>& rank) {
  return rank.plan.layout.tp > 1;
}

template <class T>
void pre_norm(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  norm(rank, frame, Param::kMlpNorm, s.local, s.hidden, frame.middle.get(), frame.mlp_normed,
       frame.transient, frame.mlp_rms);
}

template <class T>
void pre_norm_again(RankState<T>& rank, Frame<T>& frame) {
  if (!frame.mlp_normed.made() || !frame.mlp_rms.made()) pre_norm(rank, frame);
}

template <class T>
Tensor<T>& input(RankState<T>& rank, Frame<T>& frame) {
  return divided(rank) ? frame.mlp_gathered : frame.mlp_normed;
}

template <class T>
void fc1(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear({s.tokens, 2 * s.dense, s.hidden, layer_product(rank)},
                      input(rank, frame).get(), rank.weight(frame, Param::kFc1).quantised,
                      frame.fc1.make(rank.kept(frame), s.tokens * 2 * s.dense));
}

template <class T>
void swiglu(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.swiglu_forward(
      {s.tokens, s.dense}, frame.fc1.get(), nullptr,
      frame.act.make(rank.kept_without_recompute(frame), s.tokens * s.dense));
  if (rank.fp8()) quantise_rows(rank, frame.act, s.dense);
}

template <class T>
void fc2(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear({s.tokens, s.hidden, s.dense, layer_product(rank)}, frame.act.get(),
                      rank.weight(frame, Param::kFc2).quantised,
                      frame.fc2.make(frame.transient, s.tokens * s.hidden));
}

template <class T>
void add_residual(RankState<T>& rank, Frame<T>& frame) {
  const std::int64_t elements = rank.sizes.local * rank.sizes.hidden;
  if (frame.backward) return;  // made again only as far as the backward needs it
  rank.kernels.add(elements, frame.middle.get(), frame.fc2.get(),
                   frame.out.make(frame.passing, elements));
  frame.transient.drop_all();
}

template <class T>
void fc2_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  take_gradient(rank, frame);
  if (!frame.gathered_operand.made())
    frame.gathered_operand.copy(frame.operands, frame.out_gradient);
  Tensor<T> operand("output gradient of the MLP");
  operand.copy(frame.transient, frame.gathered_operand);
  if (rank.fp8()) quantise_rows(rank, operand, s.hidden);
  rank.kernels.linear_input_gradient({s.tokens, s.hidden, s.dense, layer_product(rank)},
                                     operand.get(), rank.weight(frame, Param::kFc2).quantised,
                                     frame.act_gradient.make(frame.transient, s.tokens * s.dense),
                                     false);
}

template <class T>
void swiglu_again(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.swiglu_forward({s.tokens, s.dense}, frame.fc1.get(), nullptr,
                              frame.act_operand.make(frame.operands, s.tokens * s.dense));
  if (rank.fp8()) quantise_columns(rank, frame.act_operand, s.dense);
}

template <class T>
void swiglu_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (!frame.act_operand.made()) frame.act_operand.take(frame.operands, frame.act);
  rank.kernels.swiglu_backward_input(
      {s.tokens, s.dense}, frame.fc1.get(), nullptr, frame.act_gradient.get(),
      frame.fc1_gradient.make(frame.transient, s.tokens * 2 * s.dense));
  frame.act_gradient.drop();
  frame.fc1_operand.copy(frame.operands, frame.fc1_gradient);
}

template <class T>
void fc1_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_input_gradient(
      {s.tokens, 2 * s.dense, s.hidden, layer_product(rank)}, frame.fc1_gradient.get(),
      rank.weight(frame, Param::kFc1).quantised,
      frame.mlp_input_gradient.make(frame.transient, s.tokens * s.hidden), false);
  frame.fc1_gradient.drop();
}

// The input, normed again where it was not stored, is an operand of the weight gradient.
template <class T>
void keep_input(RankState<T>& rank, Frame<T>& frame) {
  pre_norm_again(rank, frame);
  if (!frame.mlp_operand.made()) frame.mlp_operand.copy(frame.operands, frame.mlp_normed);
}

template <class T>
void pre_norm_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  keep_input(rank, frame);
  norm_backward(rank, frame, Param::kMlpNorm, s.local, s.hidden, frame.middle.get(), frame.mlp_rms,
                frame.mlp_input_gradient.get(),
                frame.middle_gradient.make(frame.transient, s.local * s.hidden));
  frame.mlp_input_gradient.drop();
}

template <class T>
void add_residual_gradient(RankState<T>& rank, Frame<T>& frame) {
  accumulate(rank, rank.sizes.local * rank.sizes.hidden, frame.out_gradient.get(),
             frame.middle_gradient.get());
  frame.out_gradient.drop();
}

template <class T>
void fc2_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient({s.tokens, s.hidden, s.dense, layer_product(rank)},
                                      frame.gathered_operand.get(), frame.act_operand.get(),
                                      rank.gradient(frame, Param::kFc2));
}

template <class T>
void fc1_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient({s.tokens, 2 * s.dense, s.hidden, layer_product(rank)},
                                      frame.fc1_operand.get(), frame.mlp_operand.get(),
                                      rank.gradient(frame, Param::kFc1));
}

template <class T>
constexpr NamedOp<T> kForward[] = {{"pre-MLP norm", pre_norm<T>},
                                   {"cast for fc1",
                                    [](RankState<T>& rank, Frame<T>& frame) {
                                      quantise_rows(rank, input(rank, frame), rank.sizes.hidden);
                                    }},
                                   {"dense fc1 fprop", fc1<T>},
                                   {"dense SwiGLU", swiglu<T>},
                                   {"dense fc2 fprop", fc2<T>},
                                   {"cast fc1 output for caching",
                                    [](RankState<T>& rank, Frame<T>& frame) {
                                      quantise_rows(rank, frame.fc1, 2 * rank.sizes.dense);
                                    }},
                                   {"add residual", add_residual<T>}};

template <class T>
constexpr NamedOp<T> kInputGradient[] = {
    {"cast fc1 output back", nullptr},  // stored as values
    {"cast dY", nullptr},               // in the input gradient, where the operand is made
    {"dense fc2 dgrad", fc2_dgrad<T>},
    {"cast and transpose dY",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.gathered_operand, rank.sizes.hidden);
     }},
    {"dense SwiGLU", swiglu_again<T>},
    {"dense SwiGLU backward", swiglu_backward<T>},
    {"cast dH",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(rank, frame.fc1_gradient, 2 * rank.sizes.dense);
     }},
    {"dense fc1 dgrad", fc1_dgrad<T>},
    {"cast and transpose dH",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.fc1_operand, 2 * rank.sizes.dense);
     }},
    {"pre-MLP norm recompute", pre_norm_again<T>},
    {"cast and transpose X",
     [](RankState<T>& rank, Frame<T>& frame) {
       if (!frame.mlp_operand.made()) keep_input(rank, frame);
       quantise_columns(rank, frame.mlp_operand, rank.sizes.hidden);
     }},
    {"pre-MLP norm backward", pre_norm_backward<T>},
    {"norm weight gradient", nullptr},      // part of the norm's backward
    {"accumulate norm gradient", nullptr},  // likewise
    {"add residual gradient", add_residual_gradient<T>}};

template <class T>
constexpr NamedOp<T> kWeightGradient[] = {{"dense fc2 wgrad", fc2_wgrad<T>},
                                          {"dense fc1 wgrad", fc1_wgrad<T>}};

}  // namespace

template <class T>
OpTable<T> dense_mlp_ops(Pass pass) {
  switch (pass) {
    case Pass::kF: return kForward<T>;
    case Pass::kI: return kInputGradient<T>;
    case Pass::kW: return kWeightGradient<T>;
  }
  return {};
}

template <class T>
HostCollective<T> dense_mlp_collective(Pass pass, std::string_view tensor) {
  using Rank = RankState<T>;
  using Elements = std::vector<T>;
  if (tensor == "normed MLP input" && pass == Pass::kF) {
    return {[](Rank&, Frame<T>& frame, Elements& own) { give(frame.mlp_normed, own); },
            [](Rank&, Frame<T>& frame, const Elements& all) {
              set(frame.mlp_gathered, frame.transient, all);
            }};
  }
  if (tensor == "normed MLP input") {
    return {[](Rank& rank, Frame<T>& frame, Elements& own) {
              pre_norm_again(rank, frame);
              give(frame.mlp_normed, own);
            },
            [](Rank&, Frame<T>& frame, const Elements& all) {
              set(frame.mlp_operand, frame.operands, all);
            }};
  }
  if (tensor == "MLP output") {
    return {
        [](Rank&, Frame<T>& frame, Elements& own) { give(frame.fc2, own); },
        [](Rank&, Frame<T>& frame, const Elements& sum) { set(frame.fc2, frame.transient, sum); }};
  }
  if (tensor == "MLP output gradient") {
    return {[](Rank& rank, Frame<T>& frame, Elements& own) {
              take_gradient(rank, frame);
              give(frame.out_gradient, own);
            },
            [](Rank&, Frame<T>& frame, const Elements& all) {
              set(frame.gathered_operand, frame.operands, all);
            }};
  }
  if (tensor == "normed MLP input gradient") {
    return {[](Rank&, Frame<T>& frame, Elements& own) { give(frame.mlp_input_gradient, own); },
            [](Rank&, Frame<T>& frame, const Elements& sum) {
              set(frame.mlp_input_gradient, frame.transient, sum);
            }};
  }
  return {};
}

template <class T>
HostCollective<T> expert_collective(Pass pass, std::string_view tensor) {
  using Rank = RankState<T>;
  using Elements = std::vector<T>;
  if (tensor == "shared expert input" && pass == Pass::kF) {
    return {[](Rank&, Frame<T>& frame, Elements& own) { give(frame.mlp_normed, own); },
            [](Rank&, Frame<T>& frame, const Elements& all) {
              set(frame.mlp_gathered, frame.transient, all);
            }};
  }
  if (tensor == "shared expert input") {
    return {[](Rank& rank, Frame<T>& frame, Elements& own) {
              norm_experts_input(rank, frame);
              give(frame.mlp_normed, own);
            },
            [](Rank&, Frame<T>& frame, const Elements& all) {
              set(frame.mlp_operand, frame.operands, all);
            }};
  }
  if (tensor == "shared expert output") {
    return {
        [](Rank&, Frame<T>& frame, Elements& own) { give(frame.fc2, own); },
        [](Rank&, Frame<T>& frame, const Elements& sum) { set(frame.fc2, frame.transient, sum); }};
  }
  if (tensor == "expert layer output gradient")
    return dense_mlp_collective<T>(pass, "MLP output gradient");
  if (tensor == "shared expert input gradient")
    return dense_mlp_collective<T>(pass, "normed MLP input gradient");
  if (tensor == "expert counts of sequences") {
    // Counts are small whole numbers, exact in any scalar.
    return {[](Rank&, Frame<T>& frame, Elements& own) {
              own.clear();
              for (std::int64_t count : frame.sequence_counts) own.push_back(static_cast<T>(count));
            },
            [](Rank&, Frame<T>& frame, const Elements& sum) {
              for (std::size_t entry = 0; entry < sum.size(); ++entry)
                frame.sequence_counts[entry] = static_cast<std::int64_t>(sum[entry]);
            }};
  }
  return {};
}

template OpTable<float> dense_mlp_ops<float>(Pass);
template OpTable<double> dense_mlp_ops<double>(Pass);
template HostCollective<float> dense_mlp_collective<float>(Pass, std::string_view);
template HostCollective<double> dense_mlp_collective<double>(Pass, std::string_view);
template HostCollective<float> expert_collective<float>(Pass, std::string_view);
template HostCollective<double> expert_collective<double>(Pass, std::string_view);

}  // namespace orrery::host
