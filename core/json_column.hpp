#pragma once
// Long lists of numbers as JSON text, written without a tree in memory.
#include <fmt/format.h>

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>

namespace orrery {

// The shortest text that reads as the same double.
std::string shortest(double value);

// `"key": [...]` with a dozen entries a line; `text(index)` gives each.
template <class Text>
void write_column(std::string& out, std::string_view key, std::size_t size, Text text) {
  constexpr std::size_t kNumbersPerLine = 12;
  fmt::format_to(std::back_inserter(out), "    \"{}\": [", key);
  for (std::size_t index = 0; index < size; ++index) {
    if (index > 0) out += ",";
    out += index % kNumbersPerLine == 0 ? "\n      " : " ";
    out += text(index);
  }
  out += "\n    ]";
}

}  // namespace orrery
