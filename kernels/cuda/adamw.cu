#include <cmath>

#include "kernels/cuda/adamw.hpp"
#include "kernels/cuda/device_math.cuh"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 256;

struct Factors {
  float beta1, beta2, epsilon, rate, decay, gradient_scale, correction1, correction2;
};

__global__ void __launch_bounds__(kThreads)
    adamw_kernel(std::int64_t vectors, Factors f, const float* gradient, float* parameter,
                 Bf16* first_moment, Bf16* second_moment, Bf16* copy) {
  const std::int64_t vector = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (vector >= vectors) return;
  const std::int64_t at = vector * kLanes;
  float g[kLanes], p[kLanes], m[kLanes], v[kLanes];
#pragma unroll
  for (int half = 0; half < kLanes; half += 4) {
    *reinterpret_cast<float4*>(g + half) = *reinterpret_cast<const float4*>(gradient + at + half);
    *reinterpret_cast<float4*>(p + half) = *reinterpret_cast<const float4*>(parameter + at + half);
  }
  unpack(load8(first_moment + at), m);
  unpack(load8(second_moment + at), v);
#pragma unroll
  for (int lane = 0; lane < kLanes; ++lane) {
    const float scaled = g[lane] * f.gradient_scale;
    m[lane] = f.beta1 * m[lane] + (1 - f.beta1) * scaled;
    v[lane] = f.beta2 * v[lane] + (1 - f.beta2) * scaled * scaled;
    const float update = m[lane] * f.correction1 / (sqrtf(v[lane] * f.correction2) + f.epsilon);
    p[lane] -= f.rate * (update + f.decay * p[lane]);
  }
#pragma unroll
  for (int half = 0; half < kLanes; half += 4)
    *reinterpret_cast<float4*>(parameter + at + half) = *reinterpret_cast<float4*>(p + half);
  store8(first_moment + at, pack(m));
  store8(second_moment + at, pack(v));
  if (copy != nullptr) store8(copy + at, pack(p));
}

}  // namespace

void adamw(std::int64_t n, const kernels::AdamwStep& step, const float* gradient, float* parameter,
           Bf16* first_moment, Bf16* second_moment, Bf16* copy, cudaStream_t stream) {
  require(n % kLanes == 0, "adamw: the number of parameters must be a multiple of 8");
  if (n == 0) return;
  const auto t = static_cast<double>(step.step);
  const Factors factors{static_cast<float>(step.beta1),
                        static_cast<float>(step.beta2),
                        static_cast<float>(step.epsilon),
                        static_cast<float>(step.learning_rate),
                        static_cast<float>(step.weight_decay),
                        static_cast<float>(step.gradient_scale),
                        static_cast<float>(1 / (1 - std::pow(step.beta1, t))),
                        static_cast<float>(1 / (1 - std::pow(step.beta2, t)))};
  const std::int64_t vectors = n / kLanes;
  adamw_kernel<<<static_cast<unsigned>((vectors + kThreads - 1) / kThreads), kThreads, 0, stream>>>(
      vectors, factors, gradient, parameter, first_moment, second_moment, copy);
  check_launch("adamw");
}

}  // namespace orrery::cuda
