#include "reports/number.hpp"

#include <fmt/format.h>

#include <cmath>

namespace orrery {
namespace {

// At most `digits` decimals, trailing zeros dropped.
std::string trimmed(double value, int digits) {
  std::string text = fmt::format("{:.{}f}", value, digits);
  if (text.find('.') == std::string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

}  // namespace

std::string grouped(double value) {
  std::string digits = fmt::format("{:.0f}", std::abs(value));
  for (std::ptrdiff_t place = static_cast<std::ptrdiff_t>(digits.size()) - 3; place > 0;
       place -= 3) {
    digits.insert(static_cast<std::size_t>(place), ",");
  }
  return std::round(value) < 0 ? "-" + digits : digits;
}

std::string compact_count(double value) {
  constexpr struct {
    double unit;
    const char* letter;
  } kUnits[] = {{1e12, " T"}, {1e9, " B"}, {1e6, " M"}, {1e3, " K"}};
  for (const auto& [unit, letter] : kUnits) {
    if (std::abs(value) >= unit) return trimmed(value / unit, 2) + letter;
  }
  return trimmed(value, 2);
}

std::string money(Dollars amount) {
  const double value = amount.value();
  if (value >= 1e9) return fmt::format("${:.3f}B", value / 1e9);
  if (value >= 1e6) return fmt::format("${:.3f}M", value / 1e6);
  if (value >= 1e3) return fmt::format("${:.1f}K", value / 1e3);
  return fmt::format("${:.2f}", value);
}

std::string percent(double share) {
  return fmt::format("{:.2f} %", share * 100);
}

std::string signed_percent(double share) {
  return fmt::format("{:+.1f} %", share * 100);
}

TimeUnit time_unit(Seconds longest) {
  if (longest >= Seconds{0.5}) return {"s", Seconds{1}};
  return {"ms", milliseconds(1)};
}

MemoryUnit memory_unit(Bytes largest) {
  constexpr double kMebi = 1048576;
  if (largest >= Bytes{1024 * kMebi / 2}) return {"GiB", Bytes{1024 * kMebi}};
  return {"MiB", Bytes{kMebi}};
}

}  // namespace orrery
