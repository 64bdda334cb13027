#include "kernels/fp8.hpp"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <vector>

namespace orrery::kernels {
namespace {

// A format written down independently of the kernels: its finite values >= 0 in ascending order by
// the formula of exponent and mantissa, in double. The index of a value is its code without sign.
class Format {
 public:
  // finite: codes below the first that is not a finite number.
  Format(int exponent_bits, int mantissa_bits, int finite) {
    const int bias = (1 << (exponent_bits - 1)) - 1;
    for (int code = 0; code < finite; ++code) {
      const int exponent = code >> mantissa_bits;
      const double fraction = std::ldexp(code & ((1 << mantissa_bits) - 1), -mantissa_bits);
      values_.push_back(exponent == 0 ? std::ldexp(fraction, 1 - bias)
                                      : std::ldexp(1 + fraction, exponent - bias));
    }
  }

  const std::vector<double>& values() const { return values_; }

  // The code nearest to a magnitude, of two equally near ones the even one. Walks the table from
  // the code found last, which is next door when magnitudes come in order; distances fall up to the
  // nearest value and rise from there, so the walk cannot stop early.
  std::uint32_t nearest(double magnitude) {
    const double* values = values_.data();
    const auto better = [=](std::uint32_t code, std::uint32_t other) {
      const double distance = std::abs(values[code] - magnitude);
      const double other_distance = std::abs(values[other] - magnitude);
      return distance < other_distance || (distance == other_distance && code % 2 == 0);
    };
    while (code_ + 1 < values_.size() && better(code_ + 1, code_)) ++code_;
    while (code_ > 0 && better(code_ - 1, code_)) --code_;
    return code_;
  }

 private:
  std::vector<double> values_;
  std::uint32_t code_ = 0;
};

Format make_e4m3() {
  return {4, 3, 0x7f};
}
Format make_e5m6() {
  return {5, 6, 31 << 6};
}

// Whether both kernels round floats as the search does. Counts those that are rounded wrongly, and
// shows the first few.
class Checker {
 public:
  void operator()(std::uint32_t bits) {
    if (rounds_right(bits) || ++wrong_ > 5) return;
    CAPTURE(bits, std::bit_cast<float>(bits));
    FAIL_CHECK("rounded wrongly");
  }
  std::int64_t wrong() const { return wrong_; }

 private:
  bool rounds_right(std::uint32_t bits) {
    const float value = std::bit_cast<float>(bits);
    const std::uint32_t code = encode_e4m3(value), sign = bits >> 31;
    const float rounded = round_e5m6(value);
    if (std::isnan(value)) return code == (0x7fu | sign << 7) && std::isnan(rounded);
    // What lies beyond both largest values is nearest to those, but so far from all values that
    // doubles cannot tell the distances apart.
    const double magnitude = std::min(std::abs(static_cast<double>(value)), 1e6);
    return code == (e4m3_.nearest(magnitude) | sign << 7) &&
           std::abs(rounded) == e5m6_.values()[e5m6_.nearest(magnitude)] &&
           std::signbit(rounded) == std::signbit(value);
  }

  Format e4m3_ = make_e4m3(), e5m6_ = make_e5m6();
  std::int64_t wrong_ = 0;
};

TEST_CASE("Every E4M3 code decodes to the value of its sign, exponent and mantissa") {
  const std::vector<double> values = make_e4m3().values();
  for (std::uint32_t code = 0; code < 256; ++code) {
    CAPTURE(code);
    const float value = decode_e4m3(static_cast<std::uint8_t>(code));
    CHECK(std::signbit(value) == (code >= 128));
    if ((code & 0x7fu) == 0x7fu)
      CHECK(std::isnan(value));
    else
      CHECK(std::abs(value) == values[code & 0x7fu]);
    CHECK(encode_e4m3(value) == code);
  }
}

TEST_CASE("The landmarks of the small formats are those of their sources") {
  CHECK(decode_e4m3(0x7e) == 448);
  CHECK(decode_e4m3(0x7e) == kE4m3Max);
  CHECK(decode_e4m3(0x08) == 0x1p-6f);
  CHECK(decode_e4m3(0x01) == 0x1p-9f);
  CHECK(decode_e4m3(0x38) == 1);
  CHECK(make_e5m6().values().back() == kE5m6Max);
  CHECK(round_e5m6(1e30f) == kE5m6Max);
  CHECK(round_e5m6(0x1p-20f) == 0x1p-20f);  // the smallest value above zero
  CHECK(round_e5m6(0x1p-21f) == 0);         // halfway to it: even
  CHECK(round_e5m6(1 + 0x1p-6f) == 1 + 0x1p-6f);
  CHECK(round_e5m6(1 + 0x1p-7f) == 1);
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(encode_e4m3(infinity) == 0x7e);
  CHECK(encode_e4m3(-infinity) == 0xfe);
  CHECK(encode_e4m3(500) == 0x7e);
  CHECK(round_e5m6(-infinity) == -kE5m6Max);
}

TEST_CASE("Every E5M6 value is its own rounding") {
  const Format format = make_e5m6();
  for (const double value : format.values()) {
    CHECK(round_e5m6(static_cast<float>(value)) == value);
    CHECK(round_e5m6(static_cast<float>(-value)) == -value);
  }
}

// The hidden test below takes all 2^32 floats, about a minute (kernels_tests "[.exhaustive]"). This
// one and the next decide the same in seconds: the formats keep at most 6 of 23 mantissa bits, so
// which way a float is rounded depends on its sign, exponent and upper mantissa, and on whether
// what lies below is nothing, something, a half, more than a half, or everything. Here the upper 24
// bits take every value, the lower 8 those five kinds; the next test takes every boundary with what
// lies just beside it.
TEST_CASE("Floats round to the nearest small number, whatever their upper and lower bits") {
  Checker check;
  for (std::uint32_t upper = 0; upper < 1u << 24; ++upper)
    for (const std::uint32_t lower : {0x00u, 0x01u, 0x7fu, 0x80u, 0x81u, 0xffu})
      check(upper << 8 | lower);
  CHECK(check.wrong() == 0);
}

TEST_CASE("Floats at a boundary of rounding, and 1 or 2 floats beside it, round as they should") {
  Checker check;
  for (const std::vector<double>& values : {make_e4m3().values(), make_e5m6().values()})
    for (std::size_t code = 0; code < values.size(); ++code) {
      const double value = values[code];
      // Beyond the last value: where it would go on, were there a next one.
      const double next =
          code + 1 < values.size() ? values[code + 1] : 2 * value - values[code - 1];
      for (const double place : {value, (value + next) / 2, next}) {
        const auto exact = static_cast<float>(place);
        REQUIRE(exact == place);
        const auto middle = std::bit_cast<std::uint32_t>(exact);
        for (std::uint32_t distance = 0; distance <= 2; ++distance)
          for (const std::uint32_t sign : {0u, 0x80000000u}) {
            check((middle + distance) | sign);
            if (middle >= distance) check((middle - distance) | sign);
          }
      }
    }
  CHECK(check.wrong() == 0);
}

TEST_CASE("Every float rounds to the nearest small number", "[.exhaustive]") {
  Checker check;
  std::uint32_t bits = 0;
  do check(bits);
  while (++bits != 0);
  CHECK(check.wrong() == 0);
}

}  // namespace
}  // namespace orrery::kernels
