#include "core/json_column.hpp"

#include <charconv>
#include <cmath>

namespace orrery {

std::string shortest(double value) {
  // A zero with a sign would read as an integer without one.
  if (value == 0 && std::signbit(value)) return "-0.0";
  char buffer[64];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, value);
  return {buffer, result.ptr};
}

}  // namespace orrery
