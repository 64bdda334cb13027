#pragma once
// Two small number formats of mixed-precision training, emulated on floats.
//
// E4M3: 1 sign, 4 exponent (bias 7) and 3 mantissa bits. No infinities; the only NaNs are 0x7f and
// 0xff, so the largest value is 448 (Micikevicius et al., "FP8 Formats for Deep Learning", 2022,
// table 1; OCP 8-bit Floating Point Specification, 2023):
//
//   exponent field e > 0:  (-1)^s 2^(e - 7) (1 + m / 8)      2^-6 (0x08) to 448 (0x7e)
//   e = 0, subnormal:      (-1)^s 2^-6 (m / 8)               2^-9 (0x01) to 7 x 2^-9
//
// E5M6: 1 sign, 5 exponent (bias 15) and 6 mantissa bits, in which DeepSeek-V3 keeps the inputs of
// the product after attention (DeepSeek-AI, "DeepSeek-V3 Technical Report", 2024, section 3.3.3).
// The report does not define the highest exponent; here, as in IEEE 754 and E5M2, it is left to
// infinities and NaNs, so the largest value is 65024 = 2^15 (1 + 63/64).
//
// All rounding is to nearest, ties to even, and saturates: what lies beyond the largest value,
// infinities included, becomes that value. NaN stays NaN. Signs are kept, also of zero.
#include <cstdint>

namespace orrery::kernels {

inline constexpr float kE4m3Max = 448;
inline constexpr float kE5m6Max = 65024;

std::uint8_t encode_e4m3(float value);
float decode_e4m3(std::uint8_t code);

// The nearest value of E5M6.
float round_e5m6(float value);

}  // namespace orrery::kernels
