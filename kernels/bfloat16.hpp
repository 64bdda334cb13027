#pragma once
// bfloat16: the upper half of a float (1 sign, 8 exponent and 7 mantissa bits), the format of
// Adam's moments in DeepSeek-V3's training (DeepSeek-AI, "DeepSeek-V3 Technical Report", 2024,
// section 3.3.2).
#include <bit>
#include <cstdint>

namespace orrery::kernels {

struct Bf16 {
  std::uint16_t bits = 0;
};

// To nearest, ties to even; beyond the largest finite value to infinity, as IEEE 754 rounds. A NaN
// stays one: the quiet bit is set, lest cutting the mantissa leave an infinity.
constexpr Bf16 to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return {static_cast<std::uint16_t>((bits >> 16) | 0x0040u)};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

constexpr float to_float(Bf16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

}  // namespace orrery::kernels
