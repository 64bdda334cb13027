#include "core/units.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>

namespace orrery {
namespace {

std::string message(std::string_view text, Dimension dimension) {
  const auto parsed = parse_quantity(text, dimension);
  return std::holds_alternative<UnitProblem>(parsed) ? std::get<UnitProblem>(parsed).message : "";
}

std::string hint(std::string_view text, Dimension dimension) {
  const auto parsed = parse_quantity(text, dimension);
  return std::holds_alternative<UnitProblem>(parsed) ? std::get<UnitProblem>(parsed).hint : "";
}

}  // namespace

TEST_CASE("quantities are read in their own unit") {
  CHECK(std::get<BytesPerSecond>(read_quantity<BytesPerSecond>("400 GB/s")).value() == 400e9);
  CHECK(std::get<BytesPerSecond>(read_quantity<BytesPerSecond>("400 Gb/s")).value() == 50e9);
  CHECK(std::get<BytesPerSecond>(read_quantity<BytesPerSecond>("400Gbps")).value() == 50e9);
  CHECK(std::get<Seconds>(read_quantity<Seconds>("3.7 us")) == microseconds(3.7));
  // The nearest double of what is written: scaling would round twice.
  CHECK(std::get<Seconds>(read_quantity<Seconds>("859.7 us")) == Seconds{8.597e-4});
  CHECK(std::get<Seconds>(read_quantity<Seconds>(" 2 h ")).value() == 7200);
  CHECK(std::get<Bytes>(read_quantity<Bytes>("84943110144 B")).value() == 84943110144.0);
  CHECK(std::get<Bytes>(read_quantity<Bytes>("80 GiB")) == gibibytes(80));
  CHECK(std::get<FlopsPerSecond>(read_quantity<FlopsPerSecond>("989 TFLOPS")) == teraflops(989));
  CHECK(std::get<FlopsPerSecond>(read_quantity<FlopsPerSecond>("989 TFLOP/s")) == teraflops(989));
  CHECK(std::get<Dollars>(read_quantity<Dollars>("2 USD/h")).value() == 2);
  CHECK(std::get<Bytes>(read_quantity<Bytes>("0 B")).value() == 0);
}

TEST_CASE("a wrong dimension is named with what was expected") {
  CHECK(message("50 GB", Dimension::kBandwidth) ==
        "expected a bandwidth such as \"50 GB/s\", found a size \"50 GB\"");
  CHECK(message("3.7 us", Dimension::kRate) ==
        "expected a compute rate such as \"989 TFLOPS\", found a time \"3.7 us\"");
  CHECK(message("2 TFLOP", Dimension::kRate).find("an amount of work") != std::string::npos);
}

TEST_CASE("misspelt units get a suggestion, and bits are never taken for bytes") {
  CHECK(hint("50 GBs", Dimension::kBandwidth) == "did you mean 'GB/s'?");
  CHECK(hint("50 gb/s", Dimension::kBandwidth) == "did you mean 'GB/s' (bytes) or 'Gb/s' (bits)?");
  CHECK(hint("50 tflops", Dimension::kRate) == "did you mean 'TFLOPS'?");
  CHECK(hint("3 sec", Dimension::kTime).starts_with("units: ns, us, ms"));
}

TEST_CASE("numbers that are no quantity are refused") {
  for (const std::string_view text : {"-1 s", "-0 s", "nan s", "inf s", "-inf s", "", " ", "s",
                                      "1e999 s", "0x10 s", "1,5 s", "1 s s", "++1 s", "1e308 h"}) {
    CAPTURE(text);
    CHECK_FALSE(message(text, Dimension::kTime).empty());
  }
}

TEST_CASE("counts may have a suffix") {
  CHECK(std::get<double>(parse_count("14.8T")) == 14.8e12);
  CHECK(std::get<double>(parse_count("15360")) == 15360);
  CHECK(std::get<double>(parse_count("300 B")) == 300e9);
  CHECK(std::holds_alternative<UnitProblem>(parse_count("14.8X")));
  CHECK(std::holds_alternative<UnitProblem>(parse_count("-1")));
}

TEST_CASE("a written quantity reads back to exactly the same value") {
  CHECK(format_quantity(160e9, Dimension::kBandwidth) == "160 GB/s");
  CHECK(format_quantity(microseconds(3.7).value(), Dimension::kTime) == "3.7 us");
  CHECK(format_quantity(0, Dimension::kSize) == "0 B");
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> exponent(-12, 18);
  for (int round = 0; round < 5000; ++round) {
    const double value = std::pow(10, exponent(random));
    for (const Dimension dimension :
         {Dimension::kTime, Dimension::kSize, Dimension::kBandwidth, Dimension::kWork,
          Dimension::kRate, Dimension::kMoney, Dimension::kPrice}) {
      const std::string text = format_quantity(value, dimension);
      CAPTURE(round, value, text);
      REQUIRE(std::get<double>(parse_quantity(text, dimension)) == value);
    }
  }
  for (const double value :
       {std::numeric_limits<double>::max(), std::numeric_limits<double>::min()}) {
    CHECK(std::get<double>(
              parse_quantity(format_quantity(value, Dimension::kTime), Dimension::kTime)) == value);
  }
}

}  // namespace orrery
