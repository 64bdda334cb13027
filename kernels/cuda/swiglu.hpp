#pragma once
// The gated activation, the twin of kernels/swiglu.hpp: gate_up, dgate_up [rows][2 inter], out,
// dout [rows][inter] in BF16, arithmetic in float; row_weight [rows] in float, or null for 1.
// inter is a multiple of 8; with codes of 128.
#include <cstdint>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

void swiglu_forward(std::int64_t rows, std::int64_t inter, const Bf16* gate_up,
                    const float* row_weight, Bf16* out, Stream stream);
// out as E4M3 codes and scales of rows (kernels/cuda/quantise.hpp) instead, of out in BF16.
void swiglu_forward_fp8(std::int64_t rows, std::int64_t inter, const Bf16* gate_up,
                        const float* row_weight, std::uint8_t* codes, float* scales, Stream stream);
void swiglu_backward_input(std::int64_t rows, std::int64_t inter, const Bf16* gate_up,
                           const float* row_weight, const Bf16* dout, Bf16* dgate_up,
                           Stream stream);

}  // namespace orrery::cuda
