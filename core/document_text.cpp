#include "core/document_text.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "core/utf8.hpp"

namespace orrery {
namespace {

constexpr std::size_t kMarkDistance = 256;

[[noreturn]] void refuse(const std::string& file, Diagnostics& diagnostics, std::string message,
                         std::string hint) {
  diagnostics.error({file, 0, 0, 1, ""}, std::move(message), std::move(hint));
  diagnostics.throw_if_errors();
  throw InputError("unreachable");
}

}  // namespace

std::string checked_text(const std::string& file, std::string text, Diagnostics& diagnostics) {
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    refuse(file, diagnostics, "the file is UTF-16 text", "save it as UTF-8");
  }
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    refuse(file, diagnostics,
           text.empty() ? "the file is empty" : "the file holds nothing but white space", "");
  }
  if (const std::size_t zero = text.find('\0'); zero != std::string::npos) {
    refuse(file, diagnostics, fmt::format("the file is not text: byte {} is zero", zero),
           "expected a TOML or JSON file");
  }
  return text;
}

std::string_view line_of(std::string_view text, int line) {
  for (int number = 1; number < line; ++number) {
    const std::size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

LineIndex::LineIndex(std::string_view text) : text_(text) {
  Mark mark;
  marks_.push_back(mark);
  for (std::size_t offset = 0; offset < text.size();) {
    const std::size_t length = code_point_length(text, offset);
    const bool newline = text[offset] == '\n';
    offset += length;
    mark = newline ? Mark{offset, mark.line + 1, 1} : Mark{offset, mark.line, mark.col + 1};
    if (newline || offset - marks_.back().offset >= kMarkDistance) marks_.push_back(mark);
  }
}

Position LineIndex::at(std::size_t begin, std::size_t end) const {
  begin = std::min(begin, text_.size());
  end = std::clamp(end, begin, text_.size());
  const auto after =
      std::upper_bound(marks_.begin(), marks_.end(), begin,
                       [](std::size_t offset, const Mark& mark) { return offset < mark.offset; });
  const Mark& mark = *(after - 1);
  std::string_view token = text_.substr(begin, end - begin);
  token = token.substr(0, token.find('\n'));
  return {mark.line, mark.col + count_code_points(text_.substr(mark.offset, begin - mark.offset)),
          std::max(1, count_code_points(token))};
}

}  // namespace orrery
