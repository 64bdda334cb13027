#pragma once
// Private to the ops of realrun: linear layers on row-major arrays. Weight [outputs, inputs].
#include <cstdint>

#include "kernels/fp8_tiles.hpp"
#include "kernels/gemm.hpp"
#include "kernels/rms_norm.hpp"
#include "realrun/rank_state.hpp"

namespace orrery::host {

// y[rows, outputs] = x[rows, inputs] w^T
template <class T>
void linear(std::int64_t rows, std::int64_t outputs, std::int64_t inputs, const T* x, const T* w,
            T* y) {
  kernels::gemm_nt<T>({rows, outputs, inputs}, x, inputs, w, inputs, y, outputs, false);
}

// dx[rows, inputs] (+)= dy[rows, outputs] w
template <class T>
void linear_input_gradient(std::int64_t rows, std::int64_t outputs, std::int64_t inputs,
                           const T* dy, const T* w, T* dx, bool accumulate = false) {
  kernels::gemm_nn<T>({rows, inputs, outputs}, dy, outputs, w, inputs, dx, inputs, accumulate);
}

// dw[outputs, inputs] += dy[rows, outputs]^T x[rows, inputs]
template <class T>
void linear_weight_gradient(std::int64_t rows, std::int64_t outputs, std::int64_t inputs,
                            const T* dy, const T* x, T* dw) {
  kernels::gemm_tn<T>({outputs, inputs, rows}, dy, outputs, x, inputs, dw, inputs, true);
}

// normed and inverse RMS of x[rows, columns].
template <class T>
void norm(RankState<T>& rank, Frame<T>& frame, Param weight, std::int64_t rows,
          std::int64_t columns, const T* x, Tensor<T>& normed, Lifetime& normed_lifetime,
          Tensor<T>& rms) {
  kernels::rms_norm_forward<T>(
      {rows, columns}, x, rank.weight(frame, weight).value, rank.recipe.norm_epsilon,
      normed.make(normed_lifetime, rows * columns), rms.make(frame.transient, rows));
}

// dx from dy, and the weight's gradient.
template <class T>
void norm_backward(RankState<T>& rank, Frame<T>& frame, Param weight, std::int64_t rows,
                   std::int64_t columns, const T* x, Tensor<T>& rms, const T* dy, T* dx) {
  const kernels::RmsNormShape shape{rows, columns};
  kernels::rms_norm_backward_weight<T>(shape, x, rms.get(), dy, rank.gradient(frame, weight));
  kernels::rms_norm_backward_input<T>(shape, x, rank.weight(frame, weight).value, rms.get(), dy,
                                      dx);
}

// The values that an FP8 cast of [rows, columns] stores: 1x128 tiles, or 128x1 for the transposed
// operands of weight gradients (DeepSeek-V3 report, section 3.3.2).
template <class T>
void quantise_rows(Tensor<T>& tensor, std::int64_t columns) {
  T* values = tensor.get();
  kernels::fake_quantise_rows<T>({tensor.size() / columns, columns}, values, values);
}
template <class T>
void quantise_columns(Tensor<T>& tensor, std::int64_t columns) {
  T* values = tensor.get();
  kernels::fake_quantise_columns<T>({tensor.size() / columns, columns}, values, values);
}

// A collective's elements out of a tensor and into one.
template <class T>
void give(Tensor<T>& source, std::vector<T>& own) {
  const T* values = source.get();
  own.assign(values, values + source.size());
}
template <class T>
void set(Tensor<T>& target, Lifetime& lifetime, const std::vector<T>& values) {
  std::copy(values.begin(), values.end(),
            target.make(lifetime, static_cast<std::int64_t>(values.size())));
}

}  // namespace orrery::host
