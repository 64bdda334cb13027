#include "kernels/elementwise.hpp"

#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

TEST_CASE("Sums and factors are taken element by element, on any number of them") {
  for (const std::int64_t n : {0, 1, 127, 129}) {
    const std::vector<double> a = random_vector(n, 1), b = random_vector(n, 2);
    std::vector<double> sum = poisoned(n), into = a, in_place = a, scaled = a;
    add(n, a.data(), b.data(), sum.data());
    add(n, in_place.data(), b.data(), in_place.data());
    accumulate(n, b.data(), into.data());
    scale(n, -2.5, scaled.data());
    for (std::size_t element = 0; element < a.size(); ++element) {
      CHECK(sum[element] == a[element] + b[element]);
      CHECK(scaled[element] == -2.5 * a[element]);
    }
    CHECK(into == sum);
    CHECK(in_place == sum);
  }
}

TEST_CASE("Sums and factors have themselves as gradients") {
  const std::vector<double> b = random_vector(9, 2);
  check_derivative(
      random_vector(9, 1),
      [&]<class T>(std::vector<T> x) {
        std::vector<T> y = poisoned<T>(9);
        add(9, x.data(), converted<T>(b).data(), y.data());
        accumulate(9, x.data(), y.data());  // y = 2 x + b
        scale(9, T(3), y.data());           // y = 6 x + 3 b
        return y;
      },
      [&](const std::vector<double>&, std::vector<double> dy) {
        scale(9, 6.0, dy.data());
        return dy;
      });
}

}  // namespace
}  // namespace orrery::kernels
