#pragma once
// JSON text with one field a line, for files that people read and compare; short arrays are given
// as text. A JSON library would put each of the thousands of cells of a schedule on a line of its
// own.
#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "core/json_column.hpp"
#include "core/quantity.hpp"
#include "core/units.hpp"

namespace orrery {

// Quoted and escaped.
std::string json_string(std::string_view text);

class JsonWriter {
 public:
  std::string take() { return std::move(text_.append("\n")); }

  void begin(std::string_view key = "") {
    next(key);
    text_ += "{";
    ++depth_;
    first_ = true;
  }
  void end() {
    --depth_;
    text_ += fmt::format("\n{:{}}}}", "", 2 * depth_);
    first_ = false;
  }
  void raw(std::string_view key, std::string_view value) {
    next(key);
    text_ += value;
  }
  void field(std::string_view key, std::string_view value) { raw(key, json_string(value)); }
  void field(std::string_view key, int value) { raw(key, std::to_string(value)); }
  void field(std::string_view key, bool value) { raw(key, value ? "true" : "false"); }
  template <class Unit>
  void field(std::string_view key, Quantity<Unit> value) {
    field(key, std::string_view(write_quantity(value)));
  }
  // One element a line.
  void lines(std::string_view key, const std::vector<std::string>& elements) {
    next(key);
    const std::string margin(2 * static_cast<std::size_t>(depth_), ' ');
    text_ += elements.empty()
                 ? "[]"
                 : fmt::format("[\n{0}  {1}\n{0}]", margin, fmt::join(elements, ",\n  " + margin));
  }

 private:
  void next(std::string_view key) {
    if (depth_ > 0) text_ += fmt::format("{}\n{:{}}", first_ ? "" : ",", "", 2 * depth_);
    first_ = false;
    if (!key.empty()) text_ += fmt::format("\"{}\": ", key);
  }

  std::string text_;
  int depth_ = 0;
  bool first_ = true;
};

}  // namespace orrery
