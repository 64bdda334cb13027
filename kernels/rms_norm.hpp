#pragma once
// Root-mean-square normalisation of each row (Zhang & Sennrich, "Root Mean Square Layer
// Normalization", NeurIPS 2019, equation 4), with C = columns and epsilon inside the root as in
// DeepSeek-V3's reference code (inference/model.py, class RMSNorm):
//
//   r_i = 1 / sqrt(sum_j x_ij^2 / C + epsilon)        inverse_rms, kept for the backward
//   y_ij = x_ij r_i w_j
//   dx_ij = r_i (w_j dy_ij - x_ij r_i^2 sum_l w_l dy_il x_il / C)
//   dw_j += sum_i dy_ij x_ij r_i
//
//   x, y, dx, dy [rows][columns]    weight, dweight [columns]    inverse_rms [rows]
//
// columns >= 1, rows >= 0. Each row is computed alone; dweight adds the rows in order.
#include <cstdint>

namespace orrery::kernels {

struct RmsNormShape {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

// Writes y and inverse_rms. For float, double and Dual.
template <class T>
void rms_norm_forward(RmsNormShape shape, const T* x, const T* weight, double epsilon, T* y,
                      T* inverse_rms);

// Writes dx, which may be dy. For float and double, as the next.
template <class T>
void rms_norm_backward_input(RmsNormShape shape, const T* x, const T* weight, const T* inverse_rms,
                             const T* dy, T* dx);

// Adds to dweight.
template <class T>
void rms_norm_backward_weight(RmsNormShape shape, const T* x, const T* inverse_rms, const T* dy,
                              T* dweight);

}  // namespace orrery::kernels
