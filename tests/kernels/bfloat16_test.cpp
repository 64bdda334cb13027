#include "kernels/bfloat16.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

namespace orrery::kernels {
namespace {

TEST_CASE("Every bfloat16 survives the way to float and back") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const Bf16 value{static_cast<std::uint16_t>(bits)};
    const float wide = to_float(value);
    const Bf16 back = to_bf16(wide);
    if (std::isnan(wide) ? std::isnan(to_float(back)) : back.bits == value.bits) continue;
    CAPTURE(bits, wide, back.bits);
    FAIL_CHECK("changed");
  }
}

TEST_CASE("Floats round to the nearest bfloat16, ties to the even one") {
  // Around 1 the steps are 2^-7, so ties lie at odd multiples of 2^-8.
  struct Case {
    float value, expected;
  };
  for (const auto& [value, expected] :
       {Case{1 + 0x1p-8f, 1}, Case{1 + 0x1p-8f + 0x1p-23f, 1 + 0x1p-7f},
        Case{1 + 0x1.8p-7f, 1 + 0x1p-6f}, Case{1 + 0x1.8p-7f - 0x1p-23f, 1 + 0x1p-7f},
        Case{-1 - 0x1p-8f, -1}, Case{0x1.fep127f, 0x1.fep127f},
        // Halfway from the largest finite value to 2^128, which is even.
        Case{0x1.ffp127f, std::numeric_limits<float>::infinity()},
        Case{0x1.fefffep127f, 0x1.fep127f}, Case{0x1p-134f, 0}, Case{0x1.8p-133f, 0x1p-132f}}) {
    CAPTURE(value, expected);
    CHECK(to_float(to_bf16(value)) == expected);
  }
  CHECK(to_bf16(-0.0f).bits == 0x8000);
}

TEST_CASE("A NaN stays a NaN though its mantissa lies in the bits cut off") {
  for (const std::uint32_t bits :
       {0x7f800001u, 0xff800001u, 0x7fffffffu, 0xffffffffu, 0x7fc00000u}) {
    CAPTURE(bits);
    const float back = to_float(to_bf16(std::bit_cast<float>(bits)));
    CHECK(std::isnan(back));
    CHECK(std::signbit(back) == (bits >> 31 == 1));
  }
}

}  // namespace
}  // namespace orrery::kernels
