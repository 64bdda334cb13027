#include <cmath>

#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/flat_launch.cuh"
#include "kernels/cuda/small_kernels.hpp"

namespace orrery::cuda {
namespace {

// ---------------------------------------------------------------------------------------------------------------------
// Keys and values

// An element of kv_up each.
__global__ void __launch_bounds__(kThreads)
    place_kernel(kernels::MlaLayout l, const Bf16* kv_up, Bf16* k, Bf16* v) {
  const std::int64_t width = l.nope + l.v_dim, at = thread_number();
  if (at >= l.tokens * l.heads * width) return;
  const std::int64_t head = at / width, column = at % width;
  if (column < l.nope) {
    k[head * (l.nope + l.rope) + column] = kv_up[at];
  } else {
    v[head * l.v_dim + column - l.nope] = kv_up[at];
  }
}

__global__ void __launch_bounds__(kThreads)
    broadcast_kernel(kernels::MlaLayout l, const Bf16* k_rope, Bf16* k) {
  const std::int64_t at = thread_number();
  if (at >= l.tokens * l.heads * l.rope) return;
  const std::int64_t head = at / l.rope, column = at % l.rope;
  k[head * (l.nope + l.rope) + l.nope + column] = k_rope[head / l.heads * l.rope + column];
}

__global__ void __launch_bounds__(kThreads)
    reduce_key_kernel(kernels::MlaLayout l, const Bf16* dk, Bf16* dk_rope) {
  const std::int64_t at = thread_number();
  if (at >= l.tokens * l.rope) return;
  const std::int64_t token = at / l.rope, column = at % l.rope;
  float sum = 0;
  for (std::int64_t head = 0; head < l.heads; ++head) {
    sum += __bfloat162float(dk[(token * l.heads + head) * (l.nope + l.rope) + l.nope + column]);
  }
  dk_rope[at] = __float2bfloat16(sum);
}

__global__ void __launch_bounds__(kThreads)
    take_key_kernel(kernels::MlaLayout l, const Bf16* dk, Bf16* dkv_up) {
  const std::int64_t at = thread_number();
  if (at >= l.tokens * l.heads * l.nope) return;
  const std::int64_t head = at / l.nope, column = at % l.nope;
  dkv_up[head * (l.nope + l.v_dim) + column] = dk[head * (l.nope + l.rope) + column];
}

__global__ void __launch_bounds__(kThreads)
    take_value_kernel(kernels::MlaLayout l, const Bf16* dv, Bf16* dkv_up) {
  const std::int64_t at = thread_number();
  if (at >= l.tokens * l.heads * l.v_dim) return;
  const std::int64_t head = at / l.v_dim, column = at % l.v_dim;
  dkv_up[head * (l.nope + l.v_dim) + l.nope + column] = dv[at];
}

// ---------------------------------------------------------------------------------------------------------------------
// Element by element

__global__ void __launch_bounds__(kThreads)
    add_kernel(std::int64_t n, const Bf16* a, const Bf16* b, Bf16* out) {
  const std::int64_t at = thread_number();
  if (at < n) out[at] = __float2bfloat16(__bfloat162float(a[at]) + __bfloat162float(b[at]));
}

// To nearest even, saturating: 6 bits of mantissa, exponents of half precision, of which the
// subnormal ones are multiples of 2^-20.
__global__ void __launch_bounds__(kThreads) e5m6_kernel(std::int64_t n, const Bf16* x, Bf16* y) {
  const std::int64_t at = thread_number();
  if (at >= n) return;
  constexpr float kMost = 65024, kLeastNormal = 0x1p-14f, kStep = 0x1p-20f;
  const float value = __bfloat162float(x[at]);
  float magnitude = fabsf(value);
  if (!isnan(value)) {
    if (magnitude < kLeastNormal) {
      magnitude = rintf(magnitude / kStep) * kStep;
    } else if (magnitude < kMost) {
      int exponent = 0;
      const float fraction = frexpf(magnitude, &exponent);  // in [0.5, 1)
      magnitude = ldexpf(rintf(fraction * 128), exponent - 7);
    }
    magnitude = fminf(magnitude, kMost);
  }
  y[at] = __float2bfloat16(copysignf(magnitude, value));
}

__global__ void __launch_bounds__(kThreads)
    row_weight_kernel(kernels::SwigluShape s, const Bf16* gate_up, const Bf16* dout,
                      float* drow_weight) {
  const std::int64_t row = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (row >= s.rows) return;
  float sum = 0;
  for (std::int64_t column = threadIdx.x % 32; column < s.inter; column += 32) {
    const float gate = __bfloat162float(gate_up[row * 2 * s.inter + column]);
    const float up = __bfloat162float(gate_up[row * 2 * s.inter + s.inter + column]);
    sum += __bfloat162float(dout[row * s.inter + column]) * gate / (1 + expf(-gate)) * up;
  }
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) drow_weight[row] = sum;
}

}  // namespace

void place_keys_and_values(const kernels::MlaLayout& l, const Bf16* kv_up, Bf16* k, Bf16* v,
                           cudaStream_t stream) {
  const std::int64_t n = l.tokens * l.heads * (l.nope + l.v_dim);
  if (n == 0) return;
  place_kernel<<<blocks_of(n), kThreads, 0, stream>>>(l, kv_up, k, v);
  check_launch("place_keys_and_values");
}

void broadcast_rope_key(const kernels::MlaLayout& l, const Bf16* k_rope, Bf16* k,
                        cudaStream_t stream) {
  const std::int64_t n = l.tokens * l.heads * l.rope;
  if (n == 0) return;
  broadcast_kernel<<<blocks_of(n), kThreads, 0, stream>>>(l, k_rope, k);
  check_launch("broadcast_rope_key");
}

void reduce_rope_key_gradient(const kernels::MlaLayout& l, const Bf16* dk, Bf16* dk_rope,
                              cudaStream_t stream) {
  const std::int64_t n = l.tokens * l.rope;
  if (n == 0) return;
  reduce_key_kernel<<<blocks_of(n), kThreads, 0, stream>>>(l, dk, dk_rope);
  check_launch("reduce_rope_key_gradient");
}

void take_key_gradient(const kernels::MlaLayout& l, const Bf16* dk, Bf16* dkv_up,
                       cudaStream_t stream) {
  const std::int64_t n = l.tokens * l.heads * l.nope;
  if (n == 0) return;
  take_key_kernel<<<blocks_of(n), kThreads, 0, stream>>>(l, dk, dkv_up);
  check_launch("take_key_gradient");
}

void take_value_gradient(const kernels::MlaLayout& l, const Bf16* dv, Bf16* dkv_up,
                         cudaStream_t stream) {
  const std::int64_t n = l.tokens * l.heads * l.v_dim;
  if (n == 0) return;
  take_value_kernel<<<blocks_of(n), kThreads, 0, stream>>>(l, dv, dkv_up);
  check_launch("take_value_gradient");
}

void add(std::int64_t n, const Bf16* a, const Bf16* b, Bf16* out, cudaStream_t stream) {
  if (n == 0) return;
  add_kernel<<<blocks_of(n), kThreads, 0, stream>>>(n, a, b, out);
  check_launch("add");
}

void narrow_to_e5m6(std::int64_t n, const Bf16* x, Bf16* y, cudaStream_t stream) {
  if (n == 0) return;
  e5m6_kernel<<<blocks_of(n), kThreads, 0, stream>>>(n, x, y);
  check_launch("narrow_to_e5m6");
}

void swiglu_row_weight_gradient(kernels::SwigluShape s, const Bf16* gate_up, const Bf16* dout,
                                float* drow_weight, cudaStream_t stream) {
  if (s.rows == 0) return;
  row_weight_kernel<<<blocks_of(32 * s.rows), kThreads, 0, stream>>>(s, gate_up, dout, drow_weight);
  check_launch("swiglu_row_weight_gradient");
}

}  // namespace orrery::cuda
