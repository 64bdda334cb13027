#pragma once
// Physical quantities as types: a Bytes cannot be added to a Seconds, and a rate divides an amount
// into a time.
//
//   Bytes{117e6} / gigabytes_per_second(50)      -> Seconds
//   Flops{9.6e11} / microseconds(900)            -> FlopsPerSecond
//
// Each type wraps one double in the SI base unit (s, B, FLOP, B/s, FLOP/s). A double counts bytes
// exactly up to 2^53 (9 PB), far above anything one GPU holds. Decimal prefixes (GB = 1e9 B) and
// binary ones (GiB = 2^30 B) have separate constructors and readers, so one cannot be mistaken for
// the other.
#include <compare>

namespace orrery {

template <class Unit>
class Quantity {
 public:
  constexpr Quantity() = default;
  constexpr explicit Quantity(double value) : value_(value) {}
  // The number in the SI base unit of this quantity.
  constexpr double value() const { return value_; }

  constexpr auto operator<=>(const Quantity&) const = default;
  constexpr Quantity& operator+=(Quantity other) {
    value_ += other.value_;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity other) {
    value_ -= other.value_;
    return *this;
  }
  constexpr Quantity& operator*=(double factor) {
    value_ *= factor;
    return *this;
  }

  friend constexpr Quantity operator+(Quantity a, Quantity b) {
    return Quantity{a.value_ + b.value_};
  }
  friend constexpr Quantity operator-(Quantity a, Quantity b) {
    return Quantity{a.value_ - b.value_};
  }
  friend constexpr Quantity operator*(Quantity a, double factor) {
    return Quantity{a.value_ * factor};
  }
  friend constexpr Quantity operator*(double factor, Quantity a) {
    return Quantity{a.value_ * factor};
  }
  friend constexpr Quantity operator/(Quantity a, double divisor) {
    return Quantity{a.value_ / divisor};
  }
  // A ratio of two like quantities is a plain number.
  friend constexpr double operator/(Quantity a, Quantity b) { return a.value_ / b.value_; }

 private:
  double value_ = 0;
};

using Seconds = Quantity<struct SecondUnit>;
using Bytes = Quantity<struct ByteUnit>;
using Flops = Quantity<struct FlopUnit>;
using BytesPerSecond = Quantity<struct BytePerSecondUnit>;
using FlopsPerSecond = Quantity<struct FlopPerSecondUnit>;
using Dollars = Quantity<struct DollarUnit>;

constexpr Seconds operator/(Bytes amount, BytesPerSecond rate) {
  return Seconds{amount.value() / rate.value()};
}
constexpr Seconds operator/(Flops amount, FlopsPerSecond rate) {
  return Seconds{amount.value() / rate.value()};
}
constexpr BytesPerSecond operator/(Bytes amount, Seconds time) {
  return BytesPerSecond{amount.value() / time.value()};
}
constexpr FlopsPerSecond operator/(Flops amount, Seconds time) {
  return FlopsPerSecond{amount.value() / time.value()};
}
constexpr Bytes operator*(BytesPerSecond rate, Seconds time) {
  return Bytes{rate.value() * time.value()};
}

// Dividing by a power of ten rounds once, as the text "25 us" is read; 1e-6 is not exact.
constexpr Seconds microseconds(double us) {
  return Seconds{us / 1e6};
}
constexpr Seconds milliseconds(double ms) {
  return Seconds{ms / 1e3};
}
constexpr Bytes gigabytes(double gb) {
  return Bytes{gb * 1e9};
}
constexpr Bytes gibibytes(double gib) {
  return Bytes{gib * 1073741824.0};
}
constexpr BytesPerSecond gigabytes_per_second(double gbps) {
  return BytesPerSecond{gbps * 1e9};
}
constexpr FlopsPerSecond teraflops(double tflops) {
  return FlopsPerSecond{tflops * 1e12};
}

constexpr double in_microseconds(Seconds time) {
  return time.value() * 1e6;
}
constexpr double in_milliseconds(Seconds time) {
  return time.value() * 1e3;
}
constexpr double in_gigabytes(Bytes amount) {
  return amount.value() / 1e9;
}
constexpr double in_gibibytes(Bytes amount) {
  return amount.value() / 1073741824.0;
}
constexpr double in_gigabytes_per_second(BytesPerSecond rate) {
  return rate.value() / 1e9;
}
constexpr double in_teraflops(FlopsPerSecond rate) {
  return rate.value() / 1e12;
}

}  // namespace orrery
