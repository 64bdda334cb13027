// Routed and shared experts on the host (workload/moe_ops.cpp): their ops by name.
#include "realrun/host_experts_backward.hpp"

namespace orrery::host {
namespace {

using namespace experts;

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
       quantise_rows(rank, frame.rows_fc1, 2 * rank.sizes.inter);
     }},
    {"cast shared fc1 output for caching", [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(rank, frame.fc1, 2 * rank.sizes.shared);
     }}};

template <class T>
constexpr NamedOp<T> kInputGradient[] = {
    {"cast shared fc1 output back", nullptr},  // stored as values
    {"shared fc2 dgrad", shared_fc2_dgrad<T>},
    {"cast and transpose shared dY",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.gathered_operand, rank.sizes.hidden);
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
       quantise_columns(rank, frame.rows_act_operand, rank.sizes.inter);
     }},
    {"scale routing weights", scatter_weight_gradient<T>},
    {"pre-MoE norm recompute", norm_again<T>},
    {"cast recomputed MoE input", nullptr},  // the operand is cast where it is made
    {"cast routed dH",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(rank, frame.rows_fc1_gradient, 2 * rank.sizes.inter);
     }},
    {"routed fc1 dgrad", routed_fc1_dgrad<T>},
    {"reduce expanded rows", reduce_gradient<T>},
    {"cast and transpose routed dH",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.rows_fc1_operand, 2 * rank.sizes.inter);
     }},
    {"cast shared expert input back", nullptr},
    {"cast shared dH",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(rank, frame.fc1_gradient, 2 * rank.sizes.shared);
     }},
    {"shared fc1 dgrad", shared_fc1_dgrad<T>},
    {"cast and transpose shared dH",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.fc1_operand, 2 * rank.sizes.shared);
     }},
    {"cast and transpose shared X", [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.mlp_operand, rank.sizes.hidden);
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
