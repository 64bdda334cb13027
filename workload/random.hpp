#pragma once
// A small seeded generator whose numbers are the same with every compiler and library (std
// distributions are not). SplitMix64 (Steele, Lea, Flood, OOPSLA 2014); normals by Box and Muller.
#include <cmath>
#include <cstdint>
#include <numbers>

namespace orrery {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // In (0, 1).
  double uniform() { return (static_cast<double>(next() >> 11) + 0.5) * 0x1p-53; }
  // In [0, count).
  int below(int count) { return static_cast<int>(uniform() * count); }
  // Mean 0, variance 1.
  double normal() {
    if (have_spare_) {
      have_spare_ = false;
      return spare_;
    }
    const double radius = std::sqrt(-2 * std::log(uniform()));
    const double angle = 2 * std::numbers::pi * uniform();
    spare_ = radius * std::sin(angle);
    have_spare_ = true;
    return radius * std::cos(angle);
  }

 private:
  std::uint64_t state_;
  double spare_ = 0;
  bool have_spare_ = false;
};

}  // namespace orrery
