#pragma once
// Quantities as people write them, "400 GB/s", "3.7 us", "80 GiB", "400 Gb/s" (bits), "989 TFLOPS",
// "2 USD/h": a number, a space if you like, a unit. Units are case-sensitive, since Gb and GB
// differ by eight; K, M, G, T, P are powers of 1000, Ki, Mi, Gi, Ti powers of 1024.
//
//   read_quantity<BytesPerSecond>("400 Gb/s")  -> 5e10 B/s
//   read_quantity<BytesPerSecond>("50 GB")     -> expected a bandwidth such as "50 GB/s", found a
//   size "50 GB"
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "core/quantity.hpp"

namespace orrery {

enum class Dimension {
  kTime,       // s
  kSize,       // B
  kBandwidth,  // B/s
  kWork,       // FLOP
  kRate,       // FLOP/s
  kMoney,      // USD
  kPrice,      // USD/h
};

// Why a text is not the quantity expected. Offset and length (in bytes) say which part of it is
// wrong.
struct UnitProblem {
  std::string message;
  std::string hint;
  std::size_t offset = 0;
  std::size_t length = 0;
};

// The value in the base unit above: finite and not negative.
std::variant<double, UnitProblem> parse_quantity(std::string_view text, Dimension expected);

// A count such as "14.8T", "15360" or "300 B" (K, M, B or G, T: powers of 1000): tokens,
// parameters.
std::variant<double, UnitProblem> parse_count(std::string_view text);

// The text, in the largest unit that keeps the number at or above 1, for which parse_quantity gives
// exactly `value`.
std::string format_quantity(double value, Dimension dimension);

// "a bandwidth such as "50 GB/s""
std::string describe(Dimension dimension);

template <class Q>
constexpr Dimension dimension_of();
template <>
constexpr Dimension dimension_of<Seconds>() {
  return Dimension::kTime;
}
template <>
constexpr Dimension dimension_of<Bytes>() {
  return Dimension::kSize;
}
template <>
constexpr Dimension dimension_of<BytesPerSecond>() {
  return Dimension::kBandwidth;
}
template <>
constexpr Dimension dimension_of<Flops>() {
  return Dimension::kWork;
}
template <>
constexpr Dimension dimension_of<FlopsPerSecond>() {
  return Dimension::kRate;
}
// The only money that files hold is a price per GPU-hour.
template <>
constexpr Dimension dimension_of<Dollars>() {
  return Dimension::kPrice;
}

template <class Q>
std::variant<Q, UnitProblem> read_quantity(std::string_view text) {
  const auto parsed = parse_quantity(text, dimension_of<Q>());
  if (const auto* problem = std::get_if<UnitProblem>(&parsed)) return *problem;
  return Q{std::get<double>(parsed)};
}

template <class Q>
std::string write_quantity(Q quantity) {
  return format_quantity(quantity.value(), dimension_of<Q>());
}

}  // namespace orrery
