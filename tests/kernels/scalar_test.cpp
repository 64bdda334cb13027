#include "kernels/scalar.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

namespace orrery::kernels {
namespace {

TEST_CASE("A dual number follows the rules of differentiation") {
  // x = 3 + 2e, y = 4 - e with e^2 = 0:
  const Dual x(3, 2), y(4, -1);
  struct Case {
    const char* name;
    Dual result;
    double value, slope;
  };
  const Case cases[] = {
      {"sum", x + y, 7, 1},
      {"difference", x - y, -1, 3},
      {"product", x * y, 12, 2 * 4 + 3 * -1},
      {"quotient", x / y, 0.75, (2 * 4 - 3 * -1) / 16.0},
      {"negation", -x, -3, -2},
      {"plus", +x, 3, 2},
      {"constant left", 2 * x, 6, 4},
      {"constant right", x - 1.0, 2, 2},
      {"exp", exp(x), std::exp(3), 2 * std::exp(3)},
      {"log", log(x), std::log(3), 2.0 / 3},
      {"sqrt", sqrt(y), 2, -1.0 / 4},
      {"abs of a positive", abs(x), 3, 2},
      {"abs of a negative", abs(-x), 3, 2},
      {"abs at the kink", abs(Dual(0, 5)), 0, 0},
      {"default", Dual(), 0, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    CHECK(c.result.value == Approx(c.value).epsilon(1e-15));
    CHECK(c.result.slope == Approx(c.slope).epsilon(1e-15));
  }
}

TEST_CASE(
    "A dual number that is changed in place gives what the operator gives, also with itself") {
  Dual x(3, 2);
  const Dual& itself = x;
  x *= itself;  // (x^2)' = 2 x x'
  CHECK(x.value == 9);
  CHECK(x.slope == 12);
  x /= itself;
  CHECK(x.value == 1);
  CHECK(x.slope == 0);
  x += itself;
  CHECK(x.value == 2);
  x -= itself;
  CHECK(x.value == 0);
}

TEST_CASE("Dual numbers compare by value alone") {
  CHECK(Dual(1, 2) == Dual(1, 3));
  CHECK(Dual(1, 9) < Dual(2, 0));
  CHECK(Dual(1, 0) <= Dual(1, -1));
  CHECK(Dual(3) > 2.0);
  CHECK_FALSE(Dual(std::numeric_limits<double>::quiet_NaN()) == Dual(0));
  CHECK_FALSE(Dual(std::numeric_limits<double>::quiet_NaN()) < Dual(0));
  CHECK(std::isnan(abs(Dual(std::numeric_limits<double>::quiet_NaN())).value));
}

}  // namespace
}  // namespace orrery::kernels
