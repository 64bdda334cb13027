#include "kernels/swiglu.hpp"

#include <cmath>

#include "kernels/scalar.hpp"
#include "kernels/sum.hpp"

namespace orrery::kernels {
namespace {

// exp(-x) overflows to infinity for x far below zero, and the quotient is then 0, as it should be.
template <class T>
T sigmoid(T x) {
  using std::exp;
  return T(1) / (T(1) + exp(-x));
}

}  // namespace

template <class T>
void swiglu_forward(SwigluShape shape, const T* gate_up, const T* row_weight, T* out) {
  const auto [rows, inter] = shape;
  for (std::int64_t row = 0; row < rows; ++row, gate_up += 2 * inter, out += inter) {
    const T *gate = gate_up, *up = gate_up + inter;
    const T weight = row_weight ? row_weight[row] : T(1);
    for (std::int64_t j = 0; j < inter; ++j) out[j] = gate[j] * sigmoid(gate[j]) * up[j] * weight;
  }
}

template <class T>
void swiglu_backward_input(SwigluShape shape, const T* gate_up, const T* row_weight, const T* dout,
                           T* dgate_up) {
  const auto [rows, inter] = shape;
  for (std::int64_t row = 0; row < rows; ++row) {
    const T *gate = gate_up + row * 2 * inter, *up = gate + inter;
    T *dgate = dgate_up + row * 2 * inter, *dup = dgate + inter;
    const T weight = row_weight ? row_weight[row] : T(1);
    for (std::int64_t j = 0; j < inter; ++j) {
      const T g = gate[j], u = up[j], d = dout[row * inter + j] * weight;
      const T s = sigmoid(g);
      dgate[j] = d * u * s * (T(1) + g * (T(1) - s));
      dup[j] = d * g * s;
    }
  }
}

template <class T>
void swiglu_row_weight_gradient(SwigluShape shape, const T* gate_up, const T* dout,
                                T* drow_weight) {
  const auto [rows, inter] = shape;
  for (std::int64_t row = 0; row < rows; ++row, gate_up += 2 * inter, dout += inter) {
    const T *gate = gate_up, *up = gate_up + inter;
    drow_weight[row] = sum_of<T>(
        inter, [=](std::int64_t j) { return dout[j] * gate[j] * sigmoid(gate[j]) * up[j]; });
  }
}

template void swiglu_forward(SwigluShape, const float*, const float*, float*);
template void swiglu_forward(SwigluShape, const double*, const double*, double*);
template void swiglu_forward(SwigluShape, const Dual*, const Dual*, Dual*);

#define ORRERY_INSTANTIATE_BACKWARD(T)                                                \
  template void swiglu_backward_input(SwigluShape, const T*, const T*, const T*, T*); \
  template void swiglu_row_weight_gradient(SwigluShape, const T*, const T*, T*);
ORRERY_INSTANTIATE_BACKWARD(float)
ORRERY_INSTANTIATE_BACKWARD(double)
#undef ORRERY_INSTANTIATE_BACKWARD

}  // namespace orrery::kernels
