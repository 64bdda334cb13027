#pragma once
// The gated activation between the two matrix products of an MLP (Shazeer, "GLU Variants Improve
// Transformer", 2020, equation 6), with H = inter:
//
//   silu(g) = g s(g)       s(g) = 1 / (1 + exp(-g))       silu'(g) = s(g) (1 + g (1 - s(g)))
//   out_ij = p_i silu(g_ij) u_ij
//   dg_ij = p_i dout_ij u_ij silu'(g_ij)      du_ij = p_i dout_ij silu(g_ij)
//   dp_i = sum_j dout_ij silu(g_ij) u_ij
//
//   gate_up, dgate_up [rows][2 inter]: a row is g_i followed by u_i    out, dout [rows][inter]
//   row_weight, drow_weight [rows]: p, the routing weight of an expert's row, or null for 1. It
//   multiplies here, before the second product, as that is linear: the same as weighting the
//   expert's output, with fewer columns.
#include <cstdint>

namespace orrery::kernels {

struct SwigluShape {
  std::int64_t rows = 0;
  std::int64_t inter = 0;  // columns of out
};

// Writes out. For float, double and Dual.
template <class T>
void swiglu_forward(SwigluShape shape, const T* gate_up, const T* row_weight, T* out);

// Writes dgate_up, which may be gate_up. For float and double, as the next.
template <class T>
void swiglu_backward_input(SwigluShape shape, const T* gate_up, const T* row_weight, const T* dout,
                           T* dgate_up);

// Writes drow_weight.
template <class T>
void swiglu_row_weight_gradient(SwigluShape shape, const T* gate_up, const T* dout, T* drow_weight);

}  // namespace orrery::kernels
