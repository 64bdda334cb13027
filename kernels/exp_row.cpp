#include "kernels/exp_row.hpp"

#include <array>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

// x = n ln 2 + r with |r| <= ln 2 / 2; exp(x) = 2^n times the Taylor polynomial of degree 7 in r,
// whose remainder r^8 / 8! is below 6e-9. Written with the compilers' vector types: as a loop over
// floats, GCC leaves the clamps as branches and does not vectorise. Always inlined, so that it is
// compiled for the instructions of its caller.
template <int kBytes>
struct ExpOf {
  typedef float Floats __attribute__((vector_size(kBytes)));
  typedef std::int32_t Integers __attribute__((vector_size(kBytes)));
  static constexpr std::int64_t kLanes = kBytes / sizeof(float);

  // The first `count` lanes of a vector in memory.
  [[gnu::always_inline]] static void apply(float* row, std::int64_t count, float factor,
                                           float offset) {
    Floats x = {};
    std::memcpy(&x, row, static_cast<std::size_t>(count) * sizeof(float));
    x = x * factor - offset;
    const Floats bound = Floats{} + 80.0f;
    x = x > bound ? bound : x;
    x = x < -bound ? -bound : x;
    // Adding 1.5 x 2^23 rounds to an integer, which then stands in the low bits of the sum.
    const Floats shifted = x * 1.44269504f + 12582912.0f;
    const Floats n = shifted - 12582912.0f;
    // ln 2 in two parts, the first so short that its product with n is exact.
    const Floats r = x - n * 0.693359375f - n * -2.12194440e-4f;
    Floats y = Floats{} + 1.0f / 5040;
    y = y * r + 1.0f / 720;
    y = y * r + 1.0f / 120;
    y = y * r + 1.0f / 24;
    y = y * r + 1.0f / 6;
    y = y * r + 0.5f;
    y = y * r + 1.0f;
    y = y * r + 1.0f;
    // 2^n as bits: n + 127 in the exponent field.
    Integers bits;
    std::memcpy(&bits, &shifted, sizeof(bits));
    bits = (bits + 127) << 23;
    Floats power;
    std::memcpy(&power, &bits, sizeof(power));
    y *= power;
    std::memcpy(row, &y, static_cast<std::size_t>(count) * sizeof(float));
  }

  [[gnu::always_inline]] static void row(float* row, std::int64_t size, float factor,
                                         float offset) {
    std::int64_t at = 0;
    for (; at + kLanes <= size; at += kLanes) apply(row + at, kLanes, factor, offset);
    if (at < size) apply(row + at, size - at, factor, offset);
  }
};

#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] void exp_avx2(float* row, std::int64_t size, float factor,
                                          float offset) {
  ExpOf<32>::row(row, size, factor, offset);
}
#endif

}  // namespace

template <class T>
void exp_row(T* row, std::int64_t size, T factor, T offset,
             [[maybe_unused]] Instructions instructions) {
  if constexpr (std::is_same_v<T, float>) {
#if defined(__x86_64__)
    if (instructions == Instructions::kAvx2) return exp_avx2(row, size, factor, offset);
#endif
    ExpOf<16>::row(row, size, factor, offset);
  } else {
    using std::exp;
    for (std::int64_t at = 0; at < size; ++at) row[at] = exp(factor * row[at] - offset);
  }
}

template decltype(exp_row<float>) exp_row<float>;
template decltype(exp_row<double>) exp_row<double>;
template decltype(exp_row<Dual>) exp_row<Dual>;

}  // namespace orrery::kernels
