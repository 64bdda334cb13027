#pragma once
// The gate of DeepSeek-V3 (report, section 2.1.2; `Gate` of its public inference code) in the
// order of its steps, the gradient of its weights, and its two means of balance: the bias of the
// auxiliary-loss-free method and the sequence-wise balance loss.
//
//   logits, scores  [tokens][experts]      choice  [tokens][top_k] expert numbers
//   bias            [experts]              weights [tokens][top_k]
//   group_chosen    [tokens][groups], 1 or 0; group g is experts [g, g + 1) x experts / groups
//
//   scores = sigmoid(logits)
//   group score = sum of the two largest scores + bias of the group (of all, where it has one)
//   choice = the top_k of scores + bias within the groups_per_token best groups
//   weights = scale x scores / sum of the chosen scores: the bias chooses, it does not weigh
//
// Choosing is piecewise constant: it has no gradient, and the backward takes `choice` as given.
// Every tie goes to the lower index, so a choice depends on the values alone.
// Templates are instantiated for float, double and Dual.
#include <cstdint>

namespace orrery::kernels {

// experts is a multiple of groups; the chosen groups hold at least top_k experts. Without groups
// both figures are 1.
struct RouterShape {
  std::int64_t tokens = 0;
  std::int64_t experts = 0;
  std::int64_t groups = 1;
  std::int64_t groups_per_token = 1;
  std::int64_t top_k = 0;
};

template <class T>
void router_scores(const RouterShape& shape, const T* logits, T* scores);

// Writes group_chosen.
template <class T>
void router_choose_groups(const RouterShape& shape, const T* scores, const T* bias,
                          std::int32_t* group_chosen);

// Writes choice, in descending order of scores + bias.
template <class T>
void router_choose_experts(const RouterShape& shape, const T* scores, const T* bias,
                           const std::int32_t* group_chosen, std::int32_t* choice);

template <class T>
void router_weights(const RouterShape& shape, const T* scores, const std::int32_t* choice,
                    double scale, T* weights);

// counts[expert] += how many tokens chose it; counts [experts].
void router_count(const RouterShape& shape, const std::int32_t* choice, std::int64_t* counts);

// The same by sequence: counts [sequences][experts]. sequence_of_token as in BalanceLoss.
void router_count_by_sequence(const RouterShape& shape, const std::int32_t* choice,
                              const std::int32_t* sequence_of_token, std::int64_t* counts);

// The sequence-wise balance loss (report, equations 17 to 20), summed over sequences. For a
// sequence of `length` tokens
//
//   f_i = experts / (top_k length) count_i,  P_i = 1 / length sum_t s_it / sum_j s_jt,
//   loss = alpha sum_i f_i P_i:
//
// alpha when the load is even, more when experts with high scores are those chosen often. A rank
// may hold a part of a sequence; the counts are of the whole one, summed over its ranks first.
struct BalanceLoss {
  double alpha = 0;
  std::int64_t length = 0;                          // tokens of every whole sequence
  const std::int32_t* sequence_of_token = nullptr;  // [tokens] local tokens; row of counts
  const std::int64_t* counts = nullptr;             // [sequences][experts]
};

// What the local tokens add to the loss; the sum over ranks is the loss.
template <class T>
T balance_loss_terms(const RouterShape& shape, const BalanceLoss& balance, const T* scores);

// Writes dlogits: the gradient of the weights through normalisation and sigmoid and, where
// `balance` is given, loss_scale times the gradient of the balance loss with f_i held constant.
// dweights [tokens][top_k].
template <class T>
void router_backward(const RouterShape& shape, const T* scores, const std::int32_t* choice,
                     double scale, const T* dweights, const BalanceLoss* balance, double loss_scale,
                     T* dlogits);

// One step of auxiliary-loss-free balancing (Wang et al. 2024, arXiv 2408.15664, algorithm 1):
// bias_i += rate x sign(mean of counts - counts_i). The sign is found in integers: an expert whose
// load is exactly the mean keeps its bias.
template <class T>
void router_update_bias(std::int64_t experts, const std::int64_t* counts, double rate, T* bias);

}  // namespace orrery::kernels
