#pragma once
// AdamW with BF16 moments, the twin of kernels/adamw.hpp: parameters and gradients [n] in float,
// moments [n] in BF16, which are rounded only for storage; the new parameters also in BF16 for the
// next forward, where `copy` is given. n is a multiple of 8.
#include <cstdint>

#include "kernels/adamw.hpp"
#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

void adamw(std::int64_t n, const kernels::AdamwStep& step, const float* gradient, float* parameter,
           Bf16* first_moment, Bf16* second_moment, Bf16* copy, Stream stream);

}  // namespace orrery::cuda
