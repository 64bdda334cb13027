#pragma once
// Checks of a kernel's hand-written derivative, without a second derivation by hand. Let y = f(x),
// J its Jacobian, v a direction in x and dy one in y:
//
//   adjoint              <dy, J v> == <J^T dy, v>             J v from Dual numbers, J^T dy from
//   the
//                                                             backward kernel; to 1e-12
//   central differences  J v ~ (f(x + h v) - f(x - h v)) / 2h  in double, so that Dual itself is
//                                                             checked; to 1e-6
//
// check_derivative(x, forward, backward):
//   x         the argument as one vector (a test that differentiates two arguments calls it twice)
//   forward   generic: std::vector<T> forward(const std::vector<T>& x), T double or Dual
//   backward  std::vector<double> backward(const std::vector<double>& x, const std::vector<double>&
//             dy), the gradient in x
// Outputs are to be made with poisoned<T>(n), so that an element which a kernel forgets is NaN and
// fails every comparison.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "kernels/scalar.hpp"

namespace orrery::kernels {

// n values in (-1, 1), the same for every T.
template <class T = double>
std::vector<T> random_vector(std::int64_t n, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& value : values)  // 53 bits of the generator: the same on every standard library
    value = static_cast<T>(static_cast<double>(generator() >> 11) * 0x1p-52 - 1);
  return values;
}

template <class T = double>
std::vector<T> poisoned(std::int64_t n) {
  return std::vector<T>(static_cast<std::size_t>(n), T(std::numeric_limits<double>::quiet_NaN()));
}

template <class T>
std::vector<T> converted(const std::vector<double>& values) {
  return std::vector<T>(values.begin(), values.end());
}

inline double dot(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (std::size_t element = 0; element < a.size(); ++element) sum += a[element] * b[element];
  return sum;
}

// The sum of the terms' sizes: what the rounding error of a scalar product is relative to.
inline double dot_scale(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t element = 0; element < a.size(); ++element)
    sum += std::abs(a[element] * b[element]);
  return sum;
}

inline double norm(const std::vector<double>& a) {
  return std::sqrt(dot(a, a));
}

// ||a - b|| <= tolerance * ||b||. False if an element is NaN.
inline bool close(const std::vector<double>& a, const std::vector<double>& b, double tolerance) {
  REQUIRE(a.size() == b.size());
  std::vector<double> difference(a.size());
  for (std::size_t element = 0; element < a.size(); ++element)
    difference[element] = a[element] - b[element];
  return norm(difference) <= tolerance * norm(b);
}

template <class Forward>
std::vector<double> moved(const Forward& forward, std::vector<double> x,
                          const std::vector<double>& v, double step) {
  for (std::size_t element = 0; element < x.size(); ++element) x[element] += step * v[element];
  return forward(x);
}

template <class Forward, class Backward>
void check_derivative(const std::vector<double>& x, const Forward& forward,
                      const Backward& backward) {
  const std::vector<double> y = forward(x);
  const auto x_size = static_cast<std::int64_t>(x.size());
  const auto y_size = static_cast<std::int64_t>(y.size());
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(x_size, y_size, seed);
    const std::vector<double> v = random_vector(x_size, 1000 + seed);
    const std::vector<double> dy = random_vector(y_size, 2000 + seed);

    std::vector<Dual> dual_x(x.size());
    for (std::size_t element = 0; element < x.size(); ++element)
      dual_x[element] = {x[element], v[element]};
    const std::vector<Dual> dual_y = forward(dual_x);
    std::vector<double> value, jv;
    for (const Dual element : dual_y) {
      value.push_back(element.value);
      jv.push_back(element.slope);
    }
    CHECK(close(value, y, 1e-13));

    const std::vector<double> gradient = backward(x, dy);
    const double forward_product = dot(dy, jv);
    const double backward_product = dot(gradient, v);
    CAPTURE(forward_product, backward_product);
    CHECK(std::abs(forward_product - backward_product) <= 1e-12 * dot_scale(dy, jv));

    const double step = 1e-5;
    std::vector<double> difference = moved(forward, x, v, step);
    const std::vector<double> below = moved(forward, x, v, -step);
    for (std::size_t element = 0; element < difference.size(); ++element)
      difference[element] = (difference[element] - below[element]) / (2 * step);
    CHECK(close(difference, jv, 1e-6));
  }
}

}  // namespace orrery::kernels
