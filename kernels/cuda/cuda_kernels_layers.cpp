// Attention, norms and activations of the set.
#include <algorithm>

#include "kernels/cuda/cuda_call.cuh"
#include "kernels/cuda/rms_norm.hpp"
#include "kernels/cuda/rope.hpp"
#include "kernels/cuda/small_kernels.hpp"
#include "kernels/cuda/swiglu.hpp"

namespace orrery::cuda {
namespace {

std::int64_t wide(const kernels::AttentionShape& s) {
  return s.tokens() * s.heads * s.qk_dim;
}
std::int64_t narrow(const kernels::AttentionShape& s) {
  return s.tokens() * s.heads * s.v_dim;
}

// Between [tokens][heads] and cuDNN's [sequences][heads][length].
template <class Visit>
void for_each_row(const kernels::AttentionShape& s, Visit visit) {
  for (std::int64_t token = 0; token < s.tokens(); ++token) {
    for (std::int64_t head = 0; head < s.heads; ++head) {
      const std::int64_t sequence = token / s.length;
      visit(token * s.heads + head,
            static_cast<std::size_t>((sequence * s.heads + head) * s.length + token % s.length));
    }
  }
}

std::int64_t keys(const kernels::MlaLayout& l) {
  return l.tokens * l.heads * (l.nope + l.rope);
}
std::int64_t values(const kernels::MlaLayout& l) {
  return l.tokens * l.heads * l.v_dim;
}
std::int64_t both(const kernels::MlaLayout& l) {
  return l.tokens * l.heads * (l.nope + l.v_dim);
}

}  // namespace

CudaKernels::Heads CudaKernels::heads(const kernels::AttentionShape& s, double scale) {
  return {s.sequences, s.length, s.heads, s.qk_dim, s.v_dim, scale};
}

void CudaKernels::attention_forward(const kernels::AttentionShape& s, double scale, const float* q,
                                    const float* k, const float* v, float* out, float* lse) {
  Call call(*this);
  auto& kernel = forwards_[heads(s, scale)];
  if (kernel == nullptr)
    kernel = std::make_unique<AttentionForward>(cudnn_, s, static_cast<float>(scale));
  std::vector<float> rows(static_cast<std::size_t>(s.tokens() * s.heads));
  const Bf16 *dq = call.bf16(wide(s), q), *dk = call.bf16(wide(s), k),
             *dv = call.bf16(narrow(s), v);
  Bf16* dout = call.bf16_out(narrow(s), out);
  float* dlse = call.out(static_cast<std::int64_t>(rows.size()), rows.data());
  call.run([&] { kernel->run(dq, dk, dv, dout, dlse, call.stream()); });
  for_each_row(s, [&](std::int64_t at, std::size_t from) { lse[at] = rows[from]; });
}

// For whoever asks: the backward makes its own.
void CudaKernels::attention_backward_delta(const kernels::AttentionShape& s, const float* out,
                                           const float* dout, float* delta) {
  const auto rounded = [](float x) { return kernels::to_float(kernels::to_bf16(x)); };
  for (std::int64_t row = 0; row < s.tokens() * s.heads; ++row) {
    float sum = 0;
    for (std::int64_t at = row * s.v_dim; at < (row + 1) * s.v_dim; ++at)
      sum += rounded(out[at]) * rounded(dout[at]);
    delta[row] = sum;
  }
}

void CudaKernels::attention_backward(const kernels::AttentionShape& s, double scale, const float* q,
                                     const float* k, const float* v, const float* out,
                                     const float* dout, const float* lse, const float*, float* dq,
                                     float* dk, float* dv) {
  Call call(*this);
  auto& kernel = backwards_[heads(s, scale)];
  if (kernel == nullptr)
    kernel = std::make_unique<AttentionBackward>(cudnn_, s, static_cast<float>(scale));
  std::vector<float> rows(static_cast<std::size_t>(s.tokens() * s.heads));
  for_each_row(s, [&](std::int64_t at, std::size_t to) { rows[to] = lse[at]; });
  const Bf16 *gq = call.bf16(wide(s), q), *gk = call.bf16(wide(s), k),
             *gv = call.bf16(narrow(s), v), *gout = call.bf16(narrow(s), out),
             *gdout = call.bf16(narrow(s), dout);
  const float* glse = call.upload<float>(rows);
  Bf16 *gdq = call.bf16_out(wide(s), dq), *gdk = call.bf16_out(wide(s), dk),
       *gdv = call.bf16_out(narrow(s), dv);
  call.run([&] { kernel->run(gq, gk, gv, gout, gdout, glse, gdq, gdk, gdv, call.stream()); });
}

void CudaKernels::place_keys_and_values(const kernels::MlaLayout& layout, const float* kv_up,
                                        float* k, float* v) {
  Call call(*this);
  const Bf16* from = call.bf16(both(layout), kv_up);
  Bf16 *to_k = call.bf16_both(keys(layout), k), *to_v = call.bf16_out(values(layout), v);
  call.run([&] { cuda::place_keys_and_values(layout, from, to_k, to_v, call.stream()); });
}

void CudaKernels::broadcast_rope_key(const kernels::MlaLayout& layout, const float* k_rope,
                                     float* k) {
  Call call(*this);
  const Bf16* from = call.bf16(layout.tokens * layout.rope, k_rope);
  Bf16* to = call.bf16_both(keys(layout), k);
  call.run([&] { cuda::broadcast_rope_key(layout, from, to, call.stream()); });
}

void CudaKernels::reduce_rope_key_gradient(const kernels::MlaLayout& layout, const float* dk,
                                           float* dk_rope) {
  Call call(*this);
  const Bf16* from = call.bf16(keys(layout), dk);
  Bf16* to = call.bf16_out(layout.tokens * layout.rope, dk_rope);
  call.run([&] { cuda::reduce_rope_key_gradient(layout, from, to, call.stream()); });
}

void CudaKernels::take_key_gradient(const kernels::MlaLayout& layout, const float* dk,
                                    float* dkv_up) {
  Call call(*this);
  const Bf16* from = call.bf16(keys(layout), dk);
  Bf16* to = call.bf16_both(both(layout), dkv_up);
  call.run([&] { cuda::take_key_gradient(layout, from, to, call.stream()); });
}

void CudaKernels::take_value_gradient(const kernels::MlaLayout& layout, const float* dv,
                                      float* dkv_up) {
  Call call(*this);
  const Bf16* from = call.bf16(values(layout), dv);
  Bf16* to = call.bf16_both(both(layout), dkv_up);
  call.run([&] { cuda::take_value_gradient(layout, from, to, call.stream()); });
}

void CudaKernels::rms_norm_forward(kernels::RmsNormShape s, const float* x, const float* weight,
                                   double epsilon, float* y, float* inverse_rms) {
  Call call(*this);
  const Bf16* from = call.bf16(s.rows * s.columns, x);
  const float* weights = call.values(s.columns, weight);
  Bf16* to = call.bf16_out(s.rows * s.columns, y);
  float* rms = call.out(s.rows, inverse_rms);
  call.run([&] {
    cuda::rms_norm_forward(s.rows, s.columns, from, weights, static_cast<float>(epsilon), to, rms,
                           call.stream());
  });
}

void CudaKernels::rms_norm_backward_input(kernels::RmsNormShape s, const float* x,
                                          const float* weight, const float* inverse_rms,
                                          const float* dy, float* dx) {
  Call call(*this);
  const std::int64_t n = s.rows * s.columns;
  const Bf16 *from = call.bf16(n, x), *gradient = call.bf16(n, dy);
  const float *weights = call.values(s.columns, weight), *rms = call.values(s.rows, inverse_rms);
  Bf16* to = call.bf16_out(n, dx);
  call.run([&] {
    cuda::rms_norm_backward_input(s.rows, s.columns, from, weights, rms, gradient, to,
                                  call.stream());
  });
}

void CudaKernels::rms_norm_backward_weight(kernels::RmsNormShape s, const float* x,
                                           const float* inverse_rms, const float* dy,
                                           float* dweight) {
  Call call(*this);
  const std::int64_t n = s.rows * s.columns;
  const Bf16 *from = call.bf16(n, x), *gradient = call.bf16(n, dy);
  const float* rms = call.values(s.rows, inverse_rms);
  float* sum = call.both(s.columns, dweight);
  call.run([&] {
    cuda::rms_norm_backward_weight(s.rows, s.columns, from, rms, gradient, sum, call.stream());
  });
}

const float* CudaKernels::rope_angles(std::int64_t length, std::int64_t dim, double theta) {
  const auto found = memory_->angles.find({length, dim, theta});
  if (found != memory_->angles.end()) return found->second.get();
  return memory_->angles
      .emplace(std::tuple(length, dim, theta), Device<float>(rope_table(length, dim, theta)))
      .first->second.get();
}

void CudaKernels::rope(const kernels::RopeShape& s, const std::int32_t* positions, double theta,
                       bool backward, float* x) {
  Call call(*this);
  if (s.rows == 0) return;
  const std::int64_t length = *std::max_element(positions, positions + s.rows) + std::int64_t{1};
  const float* angles = rope_angles(length, s.dim, theta);
  const std::int32_t* at = call.values(s.rows, positions);
  Bf16* turned = call.bf16_both(s.rows * s.heads * s.stride, x);
  call.run([&] {
    cuda::rope(s.rows, s.heads, s.stride, s.offset, s.dim, at, angles, backward, turned,
               call.stream());
  });
}

void CudaKernels::swiglu_forward(kernels::SwigluShape s, const float* gate_up,
                                 const float* row_weight, float* out) {
  Call call(*this);
  const Bf16* from = call.bf16(s.rows * 2 * s.inter, gate_up);
  const float* weights = call.values(s.rows, row_weight);
  Bf16* to = call.bf16_out(s.rows * s.inter, out);
  call.run([&] { cuda::swiglu_forward(s.rows, s.inter, from, weights, to, call.stream()); });
}

void CudaKernels::swiglu_backward_input(kernels::SwigluShape s, const float* gate_up,
                                        const float* row_weight, const float* dout,
                                        float* dgate_up) {
  Call call(*this);
  const Bf16 *from = call.bf16(s.rows * 2 * s.inter, gate_up),
             *gradient = call.bf16(s.rows * s.inter, dout);
  const float* weights = call.values(s.rows, row_weight);
  Bf16* to = call.bf16_out(s.rows * 2 * s.inter, dgate_up);
  call.run([&] {
    cuda::swiglu_backward_input(s.rows, s.inter, from, weights, gradient, to, call.stream());
  });
}

void CudaKernels::swiglu_row_weight_gradient(kernels::SwigluShape s, const float* gate_up,
                                             const float* dout, float* drow_weight) {
  Call call(*this);
  const Bf16 *from = call.bf16(s.rows * 2 * s.inter, gate_up),
             *gradient = call.bf16(s.rows * s.inter, dout);
  float* to = call.out(s.rows, drow_weight);
  call.run([&] { cuda::swiglu_row_weight_gradient(s, from, gradient, to, call.stream()); });
}

}  // namespace orrery::cuda
