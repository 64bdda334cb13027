#pragma once
// Random numbers and an exponential for searches, the same bits on every machine: those of the
// standard library differ between implementations and processors in the last bit, and one bit is
// enough to lead a search elsewhere.
#include <cmath>
#include <cstdint>
#include <random>

namespace orrery {

// In [0, 1).
inline double uniform_of(std::mt19937_64& random) {
  constexpr double kRange = 1.0 / 9007199254740992.0;  // 2^-53
  return static_cast<double>(random() >> 11) * kRange;
}

inline double uniform_of(std::mt19937_64& random, double from, double to) {
  return from + (to - from) * uniform_of(random);
}

// In [from, to].
inline int whole_of(std::mt19937_64& random, int from, int to) {
  return from + static_cast<int>(random() % static_cast<std::uint64_t>(to - from + 1));
}

// 2^x to about seven digits: a Taylor series on the fraction of x.
inline double power_of_two(double x) {
  if (x < -1000) return 0;
  const double whole = std::floor(x);
  const double y = (x - whole) * 0.69314718055994531;
  const double fraction =
      1 + y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4 * (1 + y / 5 * (1 + y / 6 * (1 + y / 7))))));
  return std::ldexp(fraction, static_cast<int>(whole));
}

// Whether a change that costs `more` is taken at a temperature (Metropolis).
inline bool takes_chance(std::mt19937_64& random, double more, double temperature) {
  constexpr double kLog2OfE = 1.4426950408889634;
  return uniform_of(random) < power_of_two(-more / temperature * kLog2OfE);
}

}  // namespace orrery
