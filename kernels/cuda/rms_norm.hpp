#pragma once
// Root-mean-square normalisation, the twin of kernels/rms_norm.hpp: x, y, dy, dx [rows][columns] in
// BF16, arithmetic in float. weight and dweight [columns], inverse_rms [rows] in float. columns is
// a multiple of 8 and at most 8192; with codes of 128.
#include <cstdint>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

void rms_norm_forward(std::int64_t rows, std::int64_t columns, const Bf16* x, const float* weight,
                      float epsilon, Bf16* y, float* inverse_rms, Stream stream);
// y as E4M3 codes and scales of rows (kernels/cuda/quantise.hpp) instead, of y rounded to BF16.
void rms_norm_forward_fp8(std::int64_t rows, std::int64_t columns, const Bf16* x,
                          const float* weight, float epsilon, std::uint8_t* codes, float* scales,
                          float* inverse_rms, Stream stream);
void rms_norm_backward_input(std::int64_t rows, std::int64_t columns, const Bf16* x,
                             const float* weight, const float* inverse_rms, const Bf16* dy,
                             Bf16* dx, Stream stream);
// Adds to dweight, the rows in no fixed order.
void rms_norm_backward_weight(std::int64_t rows, std::int64_t columns, const Bf16* x,
                              const float* inverse_rms, const Bf16* dy, float* dweight,
                              Stream stream);

}  // namespace orrery::cuda
