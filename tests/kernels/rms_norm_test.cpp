#include "kernels/rms_norm.hpp"

#include "kernels/sum.hpp"
#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

constexpr double kEpsilon = 1e-6;

template <class T>
std::vector<T> normalised(RmsNormShape shape, const std::vector<T>& x,
                          const std::vector<T>& weight) {
  std::vector<T> y = poisoned<T>(shape.rows * shape.columns), inverse = poisoned<T>(shape.rows);
  rms_norm_forward(shape, x.data(), weight.data(), kEpsilon, y.data(), inverse.data());
  return y;
}

std::vector<double> inverse_rms(RmsNormShape shape, const std::vector<double>& x,
                                const std::vector<double>& weight) {
  std::vector<double> y = poisoned(shape.rows * shape.columns), inverse = poisoned(shape.rows);
  rms_norm_forward(shape, x.data(), weight.data(), kEpsilon, y.data(), inverse.data());
  return inverse;
}

TEST_CASE("A sum adds every term once, whatever their number") {
  for (std::int64_t n = 0; n <= 40; ++n) {
    CAPTURE(n);
    CHECK(sum_of<double>(n, [](std::int64_t i) { return double(i + 1); }) == n * (n + 1) / 2);
  }
}

TEST_CASE("A row divided by its root mean square, by hand") {
  // (3, 4): the mean of squares is 12.5; with epsilon 12.5 the root is 5.
  const std::vector<double> x = {3, 4}, weight = {10, -1};
  std::vector<double> y = poisoned(2), inverse = poisoned(1);
  rms_norm_forward({1, 2}, x.data(), weight.data(), 12.5, y.data(), inverse.data());
  CHECK(inverse[0] == Approx(0.2).epsilon(1e-15));
  CHECK(y[0] == Approx(6).epsilon(1e-15));
  CHECK(y[1] == Approx(-0.8).epsilon(1e-15));
}

TEST_CASE("The gradients of a normalisation are those of its forward") {
  for (const std::int64_t rows : {0, 1, 127, 129})
    for (const std::int64_t columns : {1, 20, 129}) {
      const RmsNormShape shape{rows, columns};
      const std::vector<double> x = random_vector(rows * columns, 1);
      const std::vector<double> weight = random_vector(columns, 2);
      using Vector = std::vector<double>;
      if (columns > 1)  // one column: y = +-w, of derivative 0, too small for a relative bound
        check_derivative(
            x,
            [&]<class T>(const std::vector<T>& input) {
              return normalised<T>(shape, input, converted<T>(weight));
            },
            [&](const Vector& input, const Vector& dy) {
              Vector dx = poisoned(rows * columns);
              rms_norm_backward_input(shape, input.data(), weight.data(),
                                      inverse_rms(shape, input, weight).data(), dy.data(),
                                      dx.data());
              return dx;
            });
      check_derivative(
          weight,
          [&]<class T>(const std::vector<T>& w) {
            return normalised<T>(shape, converted<T>(x), w);
          },
          [&](const Vector& w, const Vector& dy) {
            Vector dweight(static_cast<std::size_t>(columns), 0);
            rms_norm_backward_weight(shape, x.data(), inverse_rms(shape, x, w).data(), dy.data(),
                                     dweight.data());
            return dweight;
          });
    }
}

TEST_CASE("The weight gradient of a normalisation is added, so halves of the rows give the whole") {
  const RmsNormShape whole{10, 9};
  const std::vector<double> x = random_vector(90, 1), weight = random_vector(9, 2);
  const std::vector<double> dy = random_vector(90, 3), inverse = inverse_rms(whole, x, weight);
  std::vector<double> once(9, 0.5), twice(9, 0.5);
  rms_norm_backward_weight(whole, x.data(), inverse.data(), dy.data(), once.data());
  rms_norm_backward_weight({4, 9}, x.data(), inverse.data(), dy.data(), twice.data());
  rms_norm_backward_weight({6, 9}, x.data() + 36, inverse.data() + 4, dy.data() + 36, twice.data());
  CHECK(once == twice);
}

TEST_CASE("The input gradient of a normalisation may replace the gradient it comes from") {
  const RmsNormShape shape{3, 11};
  const std::vector<double> x = random_vector(33, 1), weight = random_vector(11, 2);
  const std::vector<double> inverse = inverse_rms(shape, x, weight);
  std::vector<double> dy = random_vector(33, 3), dx = poisoned(33);
  rms_norm_backward_input(shape, x.data(), weight.data(), inverse.data(), dy.data(), dx.data());
  rms_norm_backward_input(shape, x.data(), weight.data(), inverse.data(), dy.data(), dy.data());
  CHECK(dy == dx);
}

TEST_CASE("A normalisation of floats is that of doubles, rounded") {
  const RmsNormShape shape{5, 300};
  const std::vector<double> x = random_vector(1500, 1), weight = random_vector(300, 2);
  const std::vector<float> y =
      normalised<float>(shape, {x.begin(), x.end()}, {weight.begin(), weight.end()});
  CHECK(close({y.begin(), y.end()}, normalised(shape, x, weight), 3e-7));
}

}  // namespace
}  // namespace orrery::kernels
