#pragma once
// Rows of the local experts out of received tokens and back, the twin of kernels/permute.hpp: x and
// out of tokens [tokens][hidden], of rows [rows][hidden], in BF16; sums in float, in order of the
// slots. hidden is a multiple of 8.
#include <cstdint>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

// row_of [tokens][slots]: the rows of a token, -1 where there is none.
// out[row] = x[token] for each of the token's rows; no row is another token's, too.
void expand_rows(std::int64_t tokens, std::int64_t slots, std::int64_t hidden,
                 const std::int32_t* row_of, const Bf16* x, Bf16* out, Stream stream);
// out[token] = sum over its rows of y[row]
void reduce_rows(std::int64_t tokens, std::int64_t slots, std::int64_t hidden,
                 const std::int32_t* row_of, const Bf16* y, Bf16* out, Stream stream);

}  // namespace orrery::cuda
