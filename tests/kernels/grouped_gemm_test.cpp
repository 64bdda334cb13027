#include "kernels/grouped_gemm.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "core/error.hpp"
#include "kernels/gemm.hpp"
#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

// Experts with 0, 1, 127, 0 and 129 rows: nothing, one row, and either side of a block.
constexpr std::int64_t kOffsets[] = {0, 0, 1, 128, 128, 257};
constexpr std::int64_t kRows = 257;
constexpr GroupedShape kShape{.groups = 5, .n = 6, .k = 11, .offsets = kOffsets};
constexpr std::int64_t kWeights = kShape.groups * kShape.n * kShape.k;

template <class T>
std::vector<T> forward(const std::vector<T>& x, const std::vector<T>& weights) {
  auto y = poisoned<T>(kRows * kShape.n);
  grouped_forward(kShape, x.data(), weights.data(), y.data());
  return y;
}

TEST_CASE("a row is multiplied by the weights of its expert") {
  const auto x = random_vector(kRows * kShape.k, 1);
  const auto weights = random_vector(kWeights, 2);
  const auto y = forward(x, weights);
  std::vector<double> expected;
  for (std::int64_t row = 0; row < kRows; ++row) {
    const auto expert = std::upper_bound(kOffsets, std::end(kOffsets), row) - kOffsets - 1;
    for (std::int64_t output = 0; output < kShape.n; ++output) {
      double sum = 0;
      for (std::int64_t input = 0; input < kShape.k; ++input) {
        sum += x[static_cast<std::size_t>(row * kShape.k + input)] *
               weights[static_cast<std::size_t>((expert * kShape.n + output) * kShape.k + input)];
      }
      expected.push_back(sum);
    }
  }
  CHECK(close(y, expected, 1e-14));

  const std::vector<float> float_x(x.begin(), x.end());
  const std::vector<float> float_weights(weights.begin(), weights.end());
  const auto float_y = forward(float_x, float_weights);
  CHECK(close({float_y.begin(), float_y.end()}, expected, 1e-6));
}

TEST_CASE("the gradients of a grouped product are its adjoints") {
  const auto x = random_vector(kRows * kShape.k, 1);
  const auto weights = random_vector(kWeights, 2);
  SECTION("with respect to the rows") {
    check_derivative(
        x,
        [&]<class T>(const std::vector<T>& rows) { return forward(rows, converted<T>(weights)); },
        [&](const std::vector<double>&, const std::vector<double>& dy) {
          auto dx = poisoned(kRows * kShape.k);
          grouped_input_gradient(kShape, dy.data(), weights.data(), dx.data());
          return dx;
        });
  }
  SECTION("with respect to the weights") {
    check_derivative(
        weights, [&]<class T>(const std::vector<T>& w) { return forward(converted<T>(x), w); },
        [&](const std::vector<double>&, const std::vector<double>& dy) {
          std::vector<double> dweights(kWeights, 0.0);
          grouped_weight_gradient(kShape, x.data(), dy.data(), dweights.data());
          return dweights;
        });
  }
}

TEST_CASE("weight gradients add up over micro-batches, and experts without rows keep theirs") {
  const auto x = random_vector(kRows * kShape.k, 1);
  const auto dy = random_vector(kRows * kShape.n, 3);
  std::vector<double> once(kWeights, 0.0);
  grouped_weight_gradient(kShape, x.data(), dy.data(), once.data());
  auto accumulated = random_vector(kWeights, 4);
  const auto before = accumulated;
  grouped_weight_gradient(kShape, x.data(), dy.data(), accumulated.data());
  std::vector<double> expected(kWeights);
  for (std::size_t at = 0; at < expected.size(); ++at) expected[at] = before[at] + once[at];
  CHECK(close(accumulated, expected, 1e-15));
  for (const std::int64_t expert : {0, 3}) {
    const std::int64_t size = kShape.n * kShape.k;
    CHECK(std::equal(accumulated.begin() + expert * size, accumulated.begin() + (expert + 1) * size,
                     before.begin() + expert * size));
  }
}

TEST_CASE("an expert's results do not depend on the others, bit for bit in double") {
  const auto x = random_vector(kRows * kShape.k, 1);
  const auto weights = random_vector(kWeights, 2);
  const auto y = forward(x, weights);
  auto alone = poisoned(129 * kShape.n);
  gemm_nt<double>({129, kShape.n, kShape.k}, x.data() + 128 * kShape.k, kShape.k,
                  weights.data() + 4 * kShape.n * kShape.k, kShape.k, alone.data(), kShape.n,
                  false);
  CHECK(std::equal(alone.begin(), alone.end(), y.begin() + 128 * kShape.n));
}

TEST_CASE("offsets that descend are a bug") {
  const std::int64_t offsets[] = {0, 2, 1};
  const GroupedShape shape{.groups = 2, .n = 1, .k = 1, .offsets = offsets};
  const std::vector<double> x(2, 1.0);
  std::vector<double> y(2);
  CHECK_THROWS_AS(grouped_forward(shape, x.data(), x.data(), y.data()), Bug);
}

}  // namespace
}  // namespace orrery::kernels
