#pragma once
// The matrix products of a GPU's local experts, on rows sorted by expert (kernels/permute.hpp):
// group g owns rows offsets[g] up to offsets[g + 1], which may be none.
//
//   x        [rows][k]          y = x W_g^T          for the rows of group g
//   weights  [groups][n][k]     dx = dy W_g
//   y        [rows][n]          dW_g += dy^T x       over the rows of group g
//
// One call of kernels/gemm.hpp a group, so a row's result does not depend on the other groups.
// Instantiated for float, double and Dual.
#include <cstdint>

namespace orrery::kernels {

struct GroupedShape {
  std::int64_t groups = 0;                // local experts
  std::int64_t n = 0;                     // outputs
  std::int64_t k = 0;                     // inputs
  const std::int64_t* offsets = nullptr;  // [groups + 1], ascending from 0
};

// Writes y.
template <class T>
void grouped_forward(const GroupedShape& shape, const T* x, const T* weights, T* y);

// Writes dx.
template <class T>
void grouped_input_gradient(const GroupedShape& shape, const T* dy, const T* weights, T* dx);

// Adds to dweights; a group without rows leaves its part as it was.
template <class T>
void grouped_weight_gradient(const GroupedShape& shape, const T* x, const T* dy, T* dweights);

}  // namespace orrery::kernels
