#pragma once
// An update of AdamW on the device (kernels/adamw.hpp), whatever the moments are stored as.
#include <cmath>

#include "kernels/adamw.hpp"

namespace orrery::cuda {

// What a step's updates have in common.
struct AdamwFactors {
  float beta1, beta2, epsilon, rate, decay, gradient_scale, correction1, correction2;
};

inline AdamwFactors adamw_factors(const kernels::AdamwStep& step) {
  const auto t = static_cast<double>(step.step);
  return {static_cast<float>(step.beta1),
          static_cast<float>(step.beta2),
          static_cast<float>(step.epsilon),
          static_cast<float>(step.learning_rate),
          static_cast<float>(step.weight_decay),
          static_cast<float>(step.gradient_scale),
          static_cast<float>(1 / (1 - std::pow(step.beta1, t))),
          static_cast<float>(1 / (1 - std::pow(step.beta2, t)))};
}

// One parameter with its moments.
__device__ inline void adamw_update(const AdamwFactors& f, float gradient, float& parameter,
                                    float& first, float& second) {
  const float scaled = gradient * f.gradient_scale;
  first = f.beta1 * first + (1 - f.beta1) * scaled;
  second = f.beta2 * second + (1 - f.beta2) * scaled * scaled;
  const float update = first * f.correction1 / (sqrtf(second * f.correction2) + f.epsilon);
  parameter -= f.rate * (update + f.decay * parameter);
}

}  // namespace orrery::cuda
