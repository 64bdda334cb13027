#include "kernels/rope.hpp"

#include <cmath>
#include <vector>

#include "core/error.hpp"
#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

struct Rotation {
  double cosine = 1;
  double sine = 0;
};

// direction: 1 rotates by the angles, -1 back.
template <class T>
void rotate(const RopeShape& shape, const std::int32_t* positions, double theta, double direction,
            T* x) {
  ORRERY_CHECK(shape.dim % 2 == 0 && shape.offset >= 0 && shape.offset + shape.dim <= shape.stride,
               "slice of {} at {} in a head of {}", shape.dim, shape.offset, shape.stride);
  const auto pairs = static_cast<std::size_t>(shape.dim / 2);
  std::vector<double> frequencies(pairs);
  for (std::size_t pair = 0; pair < pairs; ++pair)
    frequencies[pair] =
        std::pow(theta, -2 * static_cast<double>(pair) / static_cast<double>(shape.dim));
  std::vector<Rotation> rotations(pairs);
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    for (std::size_t pair = 0; pair < pairs; ++pair) {
      const double angle = positions[row] * frequencies[pair];
      rotations[pair] = {std::cos(angle), direction * std::sin(angle)};
    }
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      T* element = x + (row * shape.heads + head) * shape.stride + shape.offset;
      for (const Rotation& rotation : rotations) {
        const T cosine = static_cast<T>(rotation.cosine), sine = static_cast<T>(rotation.sine);
        const T real = element[0], imaginary = element[1];
        element[0] = real * cosine - imaginary * sine;
        element[1] = real * sine + imaginary * cosine;
        element += 2;
      }
    }
  }
}

}  // namespace

template <class T>
void rope_forward(const RopeShape& shape, const std::int32_t* positions, double theta, T* x) {
  rotate(shape, positions, theta, 1, x);
}

template <class T>
void rope_backward(const RopeShape& shape, const std::int32_t* positions, double theta, T* dx) {
  rotate(shape, positions, theta, -1, dx);
}

template void rope_forward(const RopeShape&, const std::int32_t*, double, float*);
template void rope_forward(const RopeShape&, const std::int32_t*, double, double*);
template void rope_forward(const RopeShape&, const std::int32_t*, double, Dual*);
template void rope_backward(const RopeShape&, const std::int32_t*, double, float*);
template void rope_backward(const RopeShape&, const std::int32_t*, double, double*);

}  // namespace orrery::kernels
