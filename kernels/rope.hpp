#pragma once
// Rotary position embedding (Su et al., "RoFormer", 2021, equation 34) of a slice of each head, in
// place. Pairs are neighbours (2i, 2i + 1), as in DeepSeek-V3's reference code (inference/model.py,
// apply_rotary_emb views the slice as complex numbers), not the halves (i, i + dim/2) that other
// models use:
//
//   a_i = position * theta^(-2i / dim)      i in [0, dim / 2)
//   (x_2i, x_2i+1) <- (x_2i cos a_i - x_2i+1 sin a_i, x_2i sin a_i + x_2i+1 cos a_i)
//
//   x [rows][heads][stride], of which elements [offset, offset + dim) of each head are rotated and
//   the others left alone. DeepSeek-V3's queries: stride 192, offset 128, dim 64; its shared key:
//   one head.
//
// A rotation is orthogonal, so the backward is the rotation by -a_i. Angles are in double for every
// T. dim is even; offset + dim <= stride.
#include <cstdint>

namespace orrery::kernels {

struct RopeShape {
  std::int64_t rows = 0;
  std::int64_t heads = 0;
  std::int64_t stride = 0;  // elements from one head to the next
  std::int64_t offset = 0;  // of the slice in a head
  std::int64_t dim = 0;     // elements of the slice
};

// positions [rows], of a token in its sequence. For float, double and Dual.
template <class T>
void rope_forward(const RopeShape& shape, const std::int32_t* positions, double theta, T* x);

// dx holds the gradient of the rotated x and becomes that of x. For float and double.
template <class T>
void rope_backward(const RopeShape& shape, const std::int32_t* positions, double theta, T* dx);

}  // namespace orrery::kernels
