#include "core/utf8.hpp"

namespace orrery {
namespace {

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

}  // namespace

std::size_t code_point_length(std::string_view text, std::size_t offset) {
  const auto lead = static_cast<unsigned char>(text[offset]);
  const std::size_t length = lead < 0xC2   ? 1
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 1;
  if (offset + length > text.size()) return 1;
  for (std::size_t byte = 1; byte < length; ++byte) {
    if (!is_continuation(text[offset + byte])) return 1;
  }
  return length;
}

int count_code_points(std::string_view text) {
  int count = 0;
  for (std::size_t offset = 0; offset < text.size(); offset += code_point_length(text, offset))
    ++count;
  return count;
}

std::size_t code_point_offset(std::string_view text, int index) {
  std::size_t offset = 0;
  for (; index > 0 && offset < text.size(); --index) offset += code_point_length(text, offset);
  return offset;
}

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t offset = 0; offset < text.size();) {
    const std::size_t length = code_point_length(text, offset);
    const auto byte = static_cast<unsigned char>(text[offset]);
    if (length > 1) {
      // C1 control characters are two bytes, C2 80 to C2 9F; terminals obey them.
      const bool control = byte == 0xC2 && static_cast<unsigned char>(text[offset + 1]) < 0xA0;
      if (control) {
        out += ' ';
      } else {
        out += text.substr(offset, length);
      }
    } else if (byte >= 0x80) {
      out += '?';
    } else {
      out += byte < 0x20 || byte == 0x7F ? ' ' : static_cast<char>(byte);
    }
    offset += length;
  }
  return out;
}

}  // namespace orrery
