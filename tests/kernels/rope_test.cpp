#include "kernels/rope.hpp"

#include <numeric>

#include "core/error.hpp"
#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

TEST_CASE("Neighbours are rotated by the position times a frequency that falls with the pair") {
  // theta = 10000, dim = 4: angles of position 3 are 3 and 3 * 10000^(-1/2) = 0.03.
  const std::int32_t position = 3;
  std::vector<double> x = {1, 0, 0, 2};
  rope_forward({1, 1, 4, 0, 4}, &position, 10000, x.data());
  CHECK(x[0] == Approx(std::cos(3)).epsilon(1e-15));
  CHECK(x[1] == Approx(std::sin(3)).epsilon(1e-15));
  CHECK(x[2] == Approx(-2 * std::sin(0.03)).epsilon(1e-14));
  CHECK(x[3] == Approx(2 * std::cos(0.03)).epsilon(1e-14));
}

TEST_CASE("A rotation touches its slice of each head and nothing else") {
  const RopeShape shape{5, 3, 11, 4, 6};
  const std::vector<std::int32_t> positions = {1, 2, 3, 4, 5};
  const std::vector<double> before = random_vector(5 * 3 * 11, 1);
  std::vector<double> x = before;
  rope_forward(shape, positions.data(), 10000, x.data());
  for (std::size_t element = 0; element < x.size(); ++element) {
    const std::size_t in_head = element % 11;
    CAPTURE(element);
    CHECK((x[element] != before[element]) == (in_head >= 4 && in_head < 10));
  }
}

TEST_CASE("A scalar product of rotated vectors depends on the distance of their positions alone") {
  // <R_p q, R_s k> = <R_(p-s) q, k>: RoFormer, equation 16.
  const RopeShape shape{1, 1, 64, 0, 64};
  const auto rotated = [&](std::vector<double> x, std::int32_t position) {
    rope_forward(shape, &position, 10000, x.data());
    return x;
  };
  const std::vector<double> q = random_vector(64, 1), k = random_vector(64, 2);
  const double expected = dot(rotated(q, 7), k);
  for (const std::int32_t shift : {1, 100, 4000}) {
    CAPTURE(shift);
    CHECK(dot(rotated(q, shift + 7), rotated(k, shift)) ==
          Approx(expected).epsilon(1e-10).margin(1e-10));
  }
}

TEST_CASE("The gradient of a rotation is the rotation back") {
  for (const std::int64_t rows : {0, 1, 127, 129}) {
    const RopeShape shape{rows, 2, 10, 3, 6};
    std::vector<std::int32_t> positions(static_cast<std::size_t>(rows));
    std::iota(positions.begin(), positions.end(), 0);
    check_derivative(
        random_vector(rows * 20, 1),
        [&]<class T>(std::vector<T> x) {
          rope_forward(shape, positions.data(), 10000, x.data());
          return x;
        },
        [&](const std::vector<double>&, std::vector<double> dx) {
          rope_backward(shape, positions.data(), 10000, dx.data());
          return dx;
        });
  }
}

TEST_CASE("A slice that is odd or leaves its head is a bug") {
  const std::int32_t position = 0;
  std::vector<double> x(8);
  CHECK_THROWS_AS(rope_forward({1, 1, 8, 0, 3}, &position, 10000, x.data()), Bug);
  CHECK_THROWS_AS(rope_forward({1, 1, 8, 4, 6}, &position, 10000, x.data()), Bug);
}

}  // namespace
}  // namespace orrery::kernels
