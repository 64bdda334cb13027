#include "kernels/rms_norm.hpp"

#include <cmath>

#include "core/error.hpp"
#include "kernels/scalar.hpp"
#include "kernels/sum.hpp"

namespace orrery::kernels {

template <class T>
void rms_norm_forward(RmsNormShape shape, const T* x, const T* weight, double epsilon, T* y,
                      T* inverse_rms) {
  using std::sqrt;
  const auto [rows, columns] = shape;
  ORRERY_CHECK(columns > 0, "columns {}", columns);
  for (std::int64_t row = 0; row < rows; ++row, x += columns, y += columns) {
    const T squares = sum_of<T>(columns, [x](std::int64_t j) { return x[j] * x[j]; });
    const T inverse = T(1) / sqrt(squares / static_cast<T>(columns) + static_cast<T>(epsilon));
    inverse_rms[row] = inverse;
    for (std::int64_t j = 0; j < columns; ++j) y[j] = x[j] * inverse * weight[j];
  }
}

template <class T>
void rms_norm_backward_input(RmsNormShape shape, const T* x, const T* weight, const T* inverse_rms,
                             const T* dy, T* dx) {
  const auto [rows, columns] = shape;
  ORRERY_CHECK(columns > 0, "columns {}", columns);
  for (std::int64_t row = 0; row < rows; ++row, x += columns, dy += columns, dx += columns) {
    const T inverse = inverse_rms[row];
    const T product = sum_of<T>(columns, [=](std::int64_t j) { return weight[j] * dy[j] * x[j]; });
    const T shrink = product * inverse * inverse / static_cast<T>(columns);
    for (std::int64_t j = 0; j < columns; ++j)
      dx[j] = inverse * (weight[j] * dy[j] - x[j] * shrink);
  }
}

template <class T>
void rms_norm_backward_weight(RmsNormShape shape, const T* x, const T* inverse_rms, const T* dy,
                              T* dweight) {
  const auto [rows, columns] = shape;
  for (std::int64_t row = 0; row < rows; ++row, x += columns, dy += columns)
    for (std::int64_t j = 0; j < columns; ++j) dweight[j] += dy[j] * x[j] * inverse_rms[row];
}

#define ORRERY_INSTANTIATE(T) \
  template void rms_norm_forward(RmsNormShape, const T*, const T*, double, T*, T*);
#define ORRERY_INSTANTIATE_BACKWARD(T)                                                             \
  template void rms_norm_backward_input(RmsNormShape, const T*, const T*, const T*, const T*, T*); \
  template void rms_norm_backward_weight(RmsNormShape, const T*, const T*, const T*, T*);
ORRERY_INSTANTIATE(float)
ORRERY_INSTANTIATE(double)
ORRERY_INSTANTIATE(Dual)
ORRERY_INSTANTIATE_BACKWARD(float)
ORRERY_INSTANTIATE_BACKWARD(double)
#undef ORRERY_INSTANTIATE
#undef ORRERY_INSTANTIATE_BACKWARD

}  // namespace orrery::kernels
