#include "kernels/exp_row.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

// Each test of floats runs with every set of instructions that this processor has.
std::vector<Instructions> available() {
  std::vector<Instructions> sets;
  for (const Instructions set : {Instructions::kBaseline, Instructions::kAvx2}) {
    if (is_available(set)) sets.push_back(set);
  }
  return sets;
}

TEST_CASE("exp_row of floats is exp to 1.2e-7 of its value") {
  const Instructions set = GENERATE(from_range(available()));
  std::vector<float> x;
  for (int step = -80000; step <= 80000; ++step) x.push_back(static_cast<float>(step) * 1e-3f);
  auto y = x;
  exp_row(y.data(), static_cast<std::int64_t>(y.size()), 1.0f, 0.0f, set);
  double worst = 0;
  for (std::size_t at = 0; at < x.size(); ++at) {
    worst = std::max(worst, std::abs(y[at] / std::exp(static_cast<double>(x[at])) - 1));
  }
  CAPTURE(set, worst);
  CHECK(worst < 1.2e-7);
}

TEST_CASE("exp_row scales, subtracts and leaves what follows the row alone") {
  const Instructions set = GENERATE(from_range(available()));
  for (int size = 0; size <= 17; ++size) {
    CAPTURE(size);
    std::vector<float> row(static_cast<std::size_t>(size) + 8, 3.0f);
    for (int at = 0; at < size; ++at) row[static_cast<std::size_t>(at)] = static_cast<float>(at);
    exp_row(row.data(), size, 0.25f, 2.0f, set);
    for (int at = 0; at < size; ++at) {
      CHECK_THAT(row[static_cast<std::size_t>(at)],
                 Catch::WithinRel(std::exp(0.25 * at - 2), 1e-6));
    }
    CHECK(std::all_of(row.begin() + size, row.end(), [](float value) { return value == 3.0f; }));
  }
}

TEST_CASE("exp_row of floats stops at exp(-80) and keeps NaN") {
  const Instructions set = GENERATE(from_range(available()));
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> row{-81, -1e30f, -infinity, std::numeric_limits<float>::quiet_NaN()};
  exp_row(row.data(), 4, 1.0f, 0.0f, set);
  for (int at = 0; at < 3; ++at) {
    CHECK_THAT(row[static_cast<std::size_t>(at)], Catch::WithinRel(std::exp(-80.0), 1e-6));
  }
  CHECK(std::isnan(row[3]));
}

TEST_CASE("exp_row of doubles is the library's exp") {
  std::vector<double> row{-800, -3.5, 0, 1.25};
  auto y = row;
  exp_row(y.data(), 4, 0.5, 0.125);
  for (std::size_t at = 0; at < row.size(); ++at) CHECK(y[at] == std::exp(0.5 * row[at] - 0.125));
}

// d/dv exp(f x - o) = exp(f x - o) (f' x + f x' - o')
TEST_CASE("exp_row of dual numbers carries the slope of row, factor and offset") {
  Dual x{0.5, 2};
  exp_row(&x, 1, Dual{3, 0.25}, Dual{1, -1});
  CHECK_THAT(x.value, Catch::WithinRel(std::exp(0.5), 1e-15));
  CHECK_THAT(x.slope, Catch::WithinRel(std::exp(0.5) * (0.25 * 0.5 + 3 * 2 + 1), 1e-15));
}

}  // namespace
}  // namespace orrery::kernels
