#pragma once
// Dual: the scalar that tests derivatives. A dual number carries a value and its slope along one
// direction, so that a forward kernel on Dual yields y and J v in one pass, exact to rounding
// (forward-mode automatic differentiation: Griewank & Walther, "Evaluating Derivatives", 2nd ed.
// 2008, chapter 3). A kernel's hand-written backward J^T dy is right when <dy, J v> == <J^T dy, v>.
//
// Kernels are templates on a scalar T in {float, double, Dual}. In their bodies, functions are
// found for all three like this:
//
//   using std::exp;
//   const T y = exp(x);  // std::exp of a float or double, the one below of a Dual
//
// Comparisons look at the value alone. abs has slope 0 at 0 (a subgradient).
#include <cmath>
#include <compare>

namespace orrery::kernels {

struct Dual {
  double value = 0;
  double slope = 0;

  constexpr Dual() = default;
  // Implicit: a constant is a dual number of slope 0.
  constexpr Dual(double value_in, double slope_in = 0) : value(value_in), slope(slope_in) {}

  constexpr Dual& operator+=(Dual other) {
    value += other.value;
    slope += other.slope;
    return *this;
  }
  constexpr Dual& operator-=(Dual other) {
    value -= other.value;
    slope -= other.slope;
    return *this;
  }
  constexpr Dual& operator*=(Dual other) {
    slope = slope * other.value + value * other.slope;
    value *= other.value;
    return *this;
  }
  constexpr Dual& operator/=(Dual other) {
    value /= other.value;
    slope = (slope - value * other.slope) / other.value;
    return *this;
  }

  friend constexpr Dual operator+(Dual a, Dual b) { return a += b; }
  friend constexpr Dual operator-(Dual a, Dual b) { return a -= b; }
  friend constexpr Dual operator*(Dual a, Dual b) { return a *= b; }
  friend constexpr Dual operator/(Dual a, Dual b) { return a /= b; }
  friend constexpr Dual operator+(Dual a) { return a; }
  friend constexpr Dual operator-(Dual a) { return {-a.value, -a.slope}; }

  friend constexpr bool operator==(Dual a, Dual b) { return a.value == b.value; }
  friend constexpr std::partial_ordering operator<=>(Dual a, Dual b) { return a.value <=> b.value; }
};

inline Dual exp(Dual x) {
  const double y = std::exp(x.value);
  return {y, y * x.slope};
}

inline Dual log(Dual x) {
  return {std::log(x.value), x.slope / x.value};
}

inline Dual sqrt(Dual x) {
  const double y = std::sqrt(x.value);
  return {y, x.slope / (2 * y)};
}

constexpr Dual abs(Dual x) {
  if (x.value > 0) return x;
  if (x.value < 0) return -x;
  return {x.value * x.value, 0};  // +0 for both zeros, NaN for NaN
}

}  // namespace orrery::kernels
