#pragma once
// Kernels of a layer without a twin of their own beside them, a thread an element, a warp a row.
// Shapes and formulas as in the header named; activations in BF16.
#include <cstdint>

#include "kernels/cuda/types.hpp"
#include "kernels/mla_layout.hpp"
#include "kernels/swiglu.hpp"

namespace orrery::cuda {

// kernels/mla_layout.hpp
void place_keys_and_values(const kernels::MlaLayout& layout, const Bf16* kv_up, Bf16* k, Bf16* v,
                           Stream stream);
void broadcast_rope_key(const kernels::MlaLayout& layout, const Bf16* k_rope, Bf16* k,
                        Stream stream);
void reduce_rope_key_gradient(const kernels::MlaLayout& layout, const Bf16* dk, Bf16* dk_rope,
                              Stream stream);
void take_key_gradient(const kernels::MlaLayout& layout, const Bf16* dk, Bf16* dkv_up,
                       Stream stream);
void take_value_gradient(const kernels::MlaLayout& layout, const Bf16* dv, Bf16* dkv_up,
                         Stream stream);

// out = a + b; out may be a or b.
void add(std::int64_t n, const Bf16* a, const Bf16* b, Bf16* out, Stream stream);
// y = x rounded to E5M6 (kernels/fp8.hpp).
void narrow_to_e5m6(std::int64_t n, const Bf16* x, Bf16* y, Stream stream);

// kernels/swiglu.hpp: a warp a row.
void swiglu_row_weight_gradient(kernels::SwigluShape shape, const Bf16* gate_up, const Bf16* dout,
                                float* drow_weight, Stream stream);

}  // namespace orrery::cuda
