#pragma once
// Rows of the local experts out of received tokens and back, the twin of kernels/permute.hpp: x and
// out of tokens [tokens][hidden], of rows [rows][hidden], in BF16; sums in float, in order of the
// slots. hidden is a multiple of 8.
#include <cstdint>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

// out[row] = x[token_of_row[row]]
void expand_rows(std::int64_t rows, std::int64_t hidden, const std::int32_t* token_of_row,
                 const Bf16* x, Bf16* out, Stream stream);
// out[token] = sum over its rows of y[row]; row_of [tokens][slots], -1 where there is none
void reduce_rows(std::int64_t tokens, std::int64_t slots, std::int64_t hidden,
                 const std::int32_t* row_of, const Bf16* y, Bf16* out, Stream stream);

}  // namespace orrery::cuda
