#pragma once
// Private to the ops of realrun: norms, casts and sums on the tensors of a frame.
#include <cstdint>

#include "realrun/rank_state.hpp"

namespace orrery::host {

// The products of layers; head and router have their own.
template <class T>
kernels::ProductType layer_product(const RankState<T>& rank) {
  return rank.fp8() ? kernels::ProductType::kFp8 : kernels::ProductType::kBf16;
}

// into += x
template <class T>
void accumulate(RankState<T>& rank, std::int64_t n, const T* x, T* into) {
  rank.kernels.add(n, into, x, into);
}

// normed and inverse RMS of x[rows, columns].
template <class T>
void norm(RankState<T>& rank, Frame<T>& frame, Param weight, std::int64_t rows,
          std::int64_t columns, const T* x, Tensor<T>& normed, Lifetime& normed_lifetime,
          Tensor<T>& rms) {
  rank.kernels.rms_norm_forward(
      {rows, columns}, x, rank.weight(frame, weight).value, rank.recipe.norm_epsilon,
      normed.make(normed_lifetime, rows * columns), rms.make(frame.transient, rows));
}

// dx from dy, and the weight's gradient.
template <class T>
void norm_backward(RankState<T>& rank, Frame<T>& frame, Param weight, std::int64_t rows,
                   std::int64_t columns, const T* x, Tensor<T>& rms, const T* dy, T* dx) {
  const kernels::RmsNormShape shape{rows, columns};
  rank.kernels.rms_norm_backward_weight(shape, x, rms.get(), dy, rank.gradient(frame, weight));
  rank.kernels.rms_norm_backward_input(shape, x, rank.weight(frame, weight).value, rms.get(), dy,
                                       dx);
}

// The values that an FP8 cast of [rows, columns] stores: 1x128 tiles, or 128x1 for the transposed
// operands of weight gradients (DeepSeek-V3 report, section 3.3.2).
template <class T>
void quantise_rows(RankState<T>& rank, Tensor<T>& tensor, std::int64_t columns) {
  T* values = tensor.get();
  rank.kernels.quantise({tensor.size() / columns, columns}, kernels::Tiles::kRows, values, values);
}
template <class T>
void quantise_columns(RankState<T>& rank, Tensor<T>& tensor, std::int64_t columns) {
  T* values = tensor.get();
  rank.kernels.quantise({tensor.size() / columns, columns}, kernels::Tiles::kColumns, values,
                        values);
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
