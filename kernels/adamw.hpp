#pragma once
// AdamW: Adam with decoupled weight decay (Loshchilov & Hutter, "Decoupled Weight Decay
// Regularization", ICLR 2019, algorithm 2), on any contiguous shard of the parameters. For step
// t = 1, 2, ...:
//
//   g = gradient * gradient_scale
//   m <- beta1 m + (1 - beta1) g        v <- beta2 v + (1 - beta2) g^2
//   p <- p - learning_rate (m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
//                           + weight_decay p)
//
// The paper's schedule multiplier eta_t and step size alpha are one learning_rate here, which
// multiplies the decay too; the paper's lambda is weight_decay * learning_rate.
//
// T, parameters and gradients: float or double, also the arithmetic. M, how the moments are stored:
// float, double or Bf16 (through float, to nearest even). A step uses the new moments before they
// are rounded for storage, so that the rounding of v does not enter the step in which it happens.
//
// Every element is computed alone: shards of any size give bitwise the same parameters.
#include <cstdint>

#include "kernels/bfloat16.hpp"

namespace orrery::kernels {

struct AdamwStep {
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double epsilon = 1e-8;
  double weight_decay = 0.1;
  double gradient_scale = 1;  // clipping, averaging, loss scaling
  std::int64_t step = 1;      // t, from 1: the moments are 0 before it
};

// gradient, parameter, first_moment, second_moment [n]; all but the gradient are updated.
template <class T, class M>
void adamw(std::int64_t n, const AdamwStep& step, const T* gradient, T* parameter, M* first_moment,
           M* second_moment);

}  // namespace orrery::kernels
