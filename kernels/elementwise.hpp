#pragma once
// The small operations between the others: residual additions, sums of gradients, factors. All are
// linear, so their backwards are themselves: the gradient of add goes to both arguments as it is.
// For float, double and Dual.
#include <cstdint>

namespace orrery::kernels {

// out_i = a_i + b_i. out may be a or b.
template <class T>
void add(std::int64_t n, const T* a, const T* b, T* out);

// into_i += x_i
template <class T>
void accumulate(std::int64_t n, const T* x, T* into);

// x_i *= factor
template <class T>
void scale(std::int64_t n, T factor, T* x);

}  // namespace orrery::kernels
