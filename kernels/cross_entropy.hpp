#pragma once
// Cross-entropy of next-token prediction over a vocabulary that may be divided: this rank holds the
// logits z of ids [first, first + vocab). Each shard is reduced to three numbers a token, which are
// combined over the shards, and the gradient needs nothing more (Shoeybi et al., "Megatron-LM",
// 2019, section 3: the shards exchange tokens, not logits):
//
//   max_t = max_v z_tv    sum_exp_t = sum_v exp(z_tv - max_t)    target_logit_t = z_t,target
//   combined:  max = max(max_a, max_b),  sum_exp = sum_exp_a exp(max_a - max) + sum_exp_b
//              exp(max_b - max),  target_logit = target_logit_a + target_logit_b
//   loss_t = max_t + log(sum_exp_t) - target_logit_t
//   dz_tv = (exp(z_tv - max_t) / sum_exp_t - [v = target_t]) * scale
//
// The maximum keeps exp from overflowing and cancels in loss and gradient. A shard without ids, or
// whose logits are all -infinity (padding of the vocabulary), has max = -infinity and sum_exp = 0.
//
//   logits [tokens][vocab]    max, sum_exp, target_logit, loss [tokens]
//   targets [tokens]: global ids, or kIgnoredTarget for a token that does not count: loss and
//   gradient 0. target_logit is 0 in the shards that do not hold the target.
#include <cstdint>

namespace orrery::kernels {

inline constexpr std::int32_t kIgnoredTarget = -1;

struct CrossEntropyShape {
  std::int64_t tokens = 0;
  std::int64_t first = 0;  // id of the shard's first logit
  std::int64_t vocab = 0;  // ids in the shard
};

// Writes the three statistics of a shard, also for ignored tokens. For float, double and Dual, as
// the next two.
template <class T>
void cross_entropy_statistics(const CrossEntropyShape& shape, const T* logits,
                              const std::int32_t* targets, T* max, T* sum_exp, T* target_logit);

// Merges the statistics of other shards into those of one. Not associative to the last bit: shards
// that need equal results combine in the same order.
template <class T>
void cross_entropy_combine(std::int64_t tokens, const T* other_max, const T* other_sum_exp,
                           const T* other_target_logit, T* max, T* sum_exp, T* target_logit);

// Writes loss, from the combined statistics.
template <class T>
void cross_entropy_loss(std::int64_t tokens, const std::int32_t* targets, const T* max,
                        const T* sum_exp, const T* target_logit, T* loss);

// Replaces the logits of a shard by the gradient of sum_t loss_t times scale (1 / tokens of the
// batch for a mean). max and sum_exp are the combined ones. For float and double.
template <class T>
void cross_entropy_gradient(const CrossEntropyShape& shape, const std::int32_t* targets,
                            const T* max, const T* sum_exp, T scale, T* logits);

}  // namespace orrery::kernels
