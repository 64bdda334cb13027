#pragma once
// E4M3 codes with a scale a tile (kernels/fp8_tiles.hpp has the formulas and the host's twin; codes
// and scales are equal bit for bit), in the layouts that cuBLASLt's block-scaled products take
// (cublasLt.h, CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F and _BLK128x128_32F; CUDA 13.0):
//
//              codes               scales (float)
//   rows       [rows][columns]     [columns / 128][scale_stride(rows)]     1 x 128, row innermost
//   columns    [columns][rows]     [rows / 128][scale_stride(columns)]     128 x 1, transposed
//   blocks     [rows][columns]     [rows / 128][scale_stride(columns / 128)]
//
// x [rows][columns] in BF16. rows and columns are multiples of 128 where they are divided by it.
#include <cstdint>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

// Scales of one row or column of tiles start at multiples of four.
constexpr std::int64_t scale_stride(std::int64_t count) {
  return (count + 3) / 4 * 4;
}

void quantise_rows(std::int64_t rows, std::int64_t columns, const Bf16* x, std::uint8_t* codes,
                   float* scales, Stream stream);
void quantise_columns(std::int64_t rows, std::int64_t columns, const Bf16* x, std::uint8_t* codes,
                      float* scales, Stream stream);
void quantise_blocks(std::int64_t rows, std::int64_t columns, const Bf16* x, std::uint8_t* codes,
                     float* scales, Stream stream);

}  // namespace orrery::cuda
