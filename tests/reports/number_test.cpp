#include "reports/number.hpp"

#include <catch2/catch.hpp>

namespace orrery {
namespace {

TEST_CASE("numbers are written as people read them") {
  CHECK(grouped(2664123.4) == "2,664,123");
  CHECK(grouped(999) == "999");
  CHECK(grouped(1000) == "1,000");
  CHECK(grouped(0) == "0");
  CHECK(grouped(-1234) == "-1,234");
  CHECK(compact_count(14.8e12) == "14.8 T");
  CHECK(compact_count(671.026e9) == "671.03 B");
  CHECK(compact_count(2e6) == "2 M");
  CHECK(compact_count(12) == "12");
  CHECK(money(Dollars{5.328e6}) == "$5.328M");
  CHECK(money(Dollars{12.5}) == "$12.50");
  CHECK(money(Dollars{2.5e9}) == "$2.500B");
  CHECK(percent(0.3894) == "38.94 %");
  CHECK(signed_percent(-0.0482) == "-4.8 %");
  CHECK(signed_percent(0.05) == "+5.0 %");
}

}  // namespace
}  // namespace orrery
