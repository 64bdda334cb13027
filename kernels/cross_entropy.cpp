#include "kernels/cross_entropy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/scalar.hpp"
#include "kernels/sum.hpp"

namespace orrery::kernels {
namespace {

template <class T>
const T kMinusInfinity = T(-std::numeric_limits<double>::infinity());

// sum * exp(from - to). An empty sum stays 0 even where both maxima are -infinity.
template <class T>
T rescaled(T sum, T from, T to) {
  using std::exp;
  return sum == T(0) ? sum : sum * exp(from - to);
}

}  // namespace

template <class T>
void cross_entropy_statistics(const CrossEntropyShape& shape, const T* logits,
                              const std::int32_t* targets, T* max, T* sum_exp, T* target_logit) {
  using std::exp;
  for (std::int64_t token = 0; token < shape.tokens; ++token, logits += shape.vocab) {
    T largest = kMinusInfinity<T>;
    for (std::int64_t id = 0; id < shape.vocab; ++id)
      if (logits[id] > largest) largest = logits[id];
    max[token] = largest;
    // Without a finite logit the sum is still taken, relative to 0: a NaN must reach the loss.
    const T reference = largest == kMinusInfinity<T> ? T(0) : largest;
    sum_exp[token] =
        sum_of<T>(shape.vocab, [=](std::int64_t id) { return exp(logits[id] - reference); });
    const std::int64_t target = targets[token] - shape.first;
    const bool is_here = targets[token] != kIgnoredTarget && target >= 0 && target < shape.vocab;
    target_logit[token] = is_here ? logits[target] : T(0);
  }
}

template <class T>
void cross_entropy_combine(std::int64_t tokens, const T* other_max, const T* other_sum_exp,
                           const T* other_target_logit, T* max, T* sum_exp, T* target_logit) {
  for (std::int64_t token = 0; token < tokens; ++token) {
    const T largest = max[token] < other_max[token] ? other_max[token] : max[token];
    sum_exp[token] = rescaled(sum_exp[token], max[token], largest) +
                     rescaled(other_sum_exp[token], other_max[token], largest);
    max[token] = largest;
    target_logit[token] += other_target_logit[token];
  }
}

template <class T>
void cross_entropy_loss(std::int64_t tokens, const std::int32_t* targets, const T* max,
                        const T* sum_exp, const T* target_logit, T* loss) {
  using std::log;
  for (std::int64_t token = 0; token < tokens; ++token)
    loss[token] = targets[token] == kIgnoredTarget
                      ? T(0)
                      : max[token] + log(sum_exp[token]) - target_logit[token];
}

template <class T>
void cross_entropy_gradient(const CrossEntropyShape& shape, const std::int32_t* targets,
                            const T* max, const T* sum_exp, T scale, T* logits) {
  using std::exp;
  for (std::int64_t token = 0; token < shape.tokens; ++token, logits += shape.vocab) {
    if (targets[token] == kIgnoredTarget) {
      std::fill_n(logits, shape.vocab, T(0));
      continue;
    }
    const T largest = max[token], factor = scale / sum_exp[token];
    for (std::int64_t id = 0; id < shape.vocab; ++id)
      logits[id] = exp(logits[id] - largest) * factor;
    const std::int64_t target = targets[token] - shape.first;
    if (target >= 0 && target < shape.vocab) logits[target] -= scale;
  }
}

#define ORRERY_INSTANTIATE(T)                                                                     \
  template void cross_entropy_statistics(const CrossEntropyShape&, const T*, const std::int32_t*, \
                                         T*, T*, T*);                                             \
  template void cross_entropy_combine(std::int64_t, const T*, const T*, const T*, T*, T*, T*);    \
  template void cross_entropy_loss(std::int64_t, const std::int32_t*, const T*, const T*,         \
                                   const T*, T*);
ORRERY_INSTANTIATE(float)
ORRERY_INSTANTIATE(double)
ORRERY_INSTANTIATE(Dual)
#undef ORRERY_INSTANTIATE

template void cross_entropy_gradient(const CrossEntropyShape&, const std::int32_t*, const float*,
                                     const float*, float, float*);
template void cross_entropy_gradient(const CrossEntropyShape&, const std::int32_t*, const double*,
                                     const double*, double, double*);

}  // namespace orrery::kernels
