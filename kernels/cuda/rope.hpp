#pragma once
// Rotary position embedding of a slice of each head, in place, the twin of kernels/rope.hpp: pairs
// are neighbours. x [rows][heads][stride] in BF16; stride, offset and dim are multiples of 8.
#include <cstdint>
#include <vector>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

// [length][dim / 2][2]: cosine and sine, for positions 0 to length - 1; made once.
std::vector<float> rope_table(std::int64_t length, std::int64_t dim, double theta);

// positions [rows], below the table's length; `backward` rotates back.
void rope(std::int64_t rows, std::int64_t heads, std::int64_t stride, std::int64_t offset,
          std::int64_t dim, const std::int32_t* positions, const float* table, bool backward,
          Bf16* x, Stream stream);

}  // namespace orrery::cuda
