#include "kernels/fp8.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

namespace orrery::kernels {
namespace {

constexpr std::uint32_t kSignBit = 0x80000000u;
constexpr int kFloatMantissa = 23;
constexpr int kFloatBias = 127;

// Rounds the magnitude of a float (its bits without the sign) to `mantissa` bits, to nearest even,
// for values that stay normal in the target. A carry out of the mantissa enters the exponent, which
// is the right result.
constexpr std::uint32_t round_mantissa(std::uint32_t magnitude, int mantissa) {
  const int cut = kFloatMantissa - mantissa;
  const std::uint32_t odd = (magnitude >> cut) & 1u;
  return (magnitude + ((1u << (cut - 1)) - 1) + odd) >> cut << cut;
}

// A float whose last mantissa bit is worth `step` (a power of two): adding it to a smaller
// magnitude lets the addition's own rounding, to nearest even, cut that magnitude to steps.
constexpr float rounding_offset(float step) {
  return step * (1 << kFloatMantissa);
}

constexpr float decode(std::uint32_t code) {
  const std::uint32_t exponent = (code >> 3) & 15u, mantissa = code & 7u;
  const std::uint32_t sign = (code & 0x80u) << 24;
  if ((code & 0x7fu) == 0x7fu) return std::bit_cast<float>(sign | 0x7fc00000u);
  const float magnitude =
      exponent == 0 ? static_cast<float>(mantissa) * 0x1p-9f
                    : std::bit_cast<float>(((exponent + kFloatBias - 7) << kFloatMantissa) |
                                           (mantissa << (kFloatMantissa - 3)));
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
}

constexpr std::array<float, 256> kDecoded = [] {
  std::array<float, 256> values{};
  for (std::uint32_t code = 0; code < 256; ++code) values[code] = decode(code);
  return values;
}();

}  // namespace

std::uint8_t encode_e4m3(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t sign = (bits & kSignBit) >> 24;
  const std::uint32_t magnitude = bits & ~kSignBit;
  if (magnitude > 0x7f800000u) return static_cast<std::uint8_t>(sign | 0x7fu);
  const float absolute = std::min(std::bit_cast<float>(magnitude), kE4m3Max);
  std::uint32_t code = 0;
  if (absolute < 0x1p-6f) {
    constexpr float kOffset = rounding_offset(0x1p-9f);
    code = std::bit_cast<std::uint32_t>(absolute + kOffset) - std::bit_cast<std::uint32_t>(kOffset);
  } else {
    // Exponent and mantissa side by side, the exponent moved from the bias of float to 7.
    code = (round_mantissa(std::bit_cast<std::uint32_t>(absolute), 3) >> (kFloatMantissa - 3)) -
           ((kFloatBias - 7) << 3);
  }
  return static_cast<std::uint8_t>(sign | code);
}

float decode_e4m3(std::uint8_t code) {
  return kDecoded[code];
}

float round_e5m6(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & ~kSignBit;
  if (magnitude > 0x7f800000u) return std::numeric_limits<float>::quiet_NaN();
  const float absolute = std::min(std::bit_cast<float>(magnitude), kE5m6Max);
  float rounded = 0;
  if (absolute < 0x1p-14f) {
    constexpr float kOffset = rounding_offset(0x1p-20f);
    rounded = absolute + kOffset - kOffset;
  } else {
    rounded = std::bit_cast<float>(round_mantissa(std::bit_cast<std::uint32_t>(absolute), 6));
  }
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(rounded) | (bits & kSignBit));
}

}  // namespace orrery::kernels
