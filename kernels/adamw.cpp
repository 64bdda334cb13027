#include "kernels/adamw.hpp"

#include <cmath>
#include <type_traits>

#include "core/error.hpp"

namespace orrery::kernels {
namespace {

template <class T, class M>
T load(M moment) {
  if constexpr (std::is_same_v<M, Bf16>)
    return static_cast<T>(to_float(moment));
  else
    return static_cast<T>(moment);
}

template <class M, class T>
M store(T moment) {
  if constexpr (std::is_same_v<M, Bf16>)
    return to_bf16(static_cast<float>(moment));
  else
    return static_cast<M>(moment);
}

}  // namespace

template <class T, class M>
void adamw(std::int64_t n, const AdamwStep& step, const T* gradient, T* parameter, M* first_moment,
           M* second_moment) {
  using std::sqrt;
  ORRERY_CHECK(step.step >= 1, "step {}", step.step);
  const auto exponent = static_cast<double>(step.step);
  const T correction1 = static_cast<T>(1 / (1 - std::pow(step.beta1, exponent)));
  const T correction2 = static_cast<T>(1 / (1 - std::pow(step.beta2, exponent)));
  const T keep1 = static_cast<T>(step.beta1), take1 = static_cast<T>(1 - step.beta1);
  const T keep2 = static_cast<T>(step.beta2), take2 = static_cast<T>(1 - step.beta2);
  const T rate = static_cast<T>(step.learning_rate), epsilon = static_cast<T>(step.epsilon);
  const T decay = static_cast<T>(step.weight_decay);
  const T gradient_scale = static_cast<T>(step.gradient_scale);
  for (std::int64_t i = 0; i < n; ++i) {
    const T g = gradient[i] * gradient_scale;
    const T m = keep1 * load<T>(first_moment[i]) + take1 * g;
    const T v = keep2 * load<T>(second_moment[i]) + take2 * g * g;
    first_moment[i] = store<M>(m);
    second_moment[i] = store<M>(v);
    const T direction = m * correction1 / (sqrt(v * correction2) + epsilon);
    parameter[i] -= rate * (direction + decay * parameter[i]);
  }
}

#define ORRERY_INSTANTIATE(T, M) \
  template void adamw(std::int64_t, const AdamwStep&, const T*, T*, M*, M*);
ORRERY_INSTANTIATE(float, float)
ORRERY_INSTANTIATE(float, double)
ORRERY_INSTANTIATE(float, Bf16)
ORRERY_INSTANTIATE(double, float)
ORRERY_INSTANTIATE(double, double)
ORRERY_INSTANTIATE(double, Bf16)
#undef ORRERY_INSTANTIATE

}  // namespace orrery::kernels
