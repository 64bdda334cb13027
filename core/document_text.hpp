#pragma once
// What both parsers check before they parse, and how a byte offset becomes a line and a column.
#include <string>
#include <string_view>
#include <vector>

#include "core/document.hpp"

namespace orrery {

// Removes a UTF-8 byte-order mark; throws InputError for UTF-16, a binary file or an empty one.
std::string checked_text(const std::string& file, std::string text, Diagnostics& diagnostics);

// Line number `line` (from 1) without its end; empty when the text has fewer.
std::string_view line_of(std::string_view text, int line);

// Offsets of a text as positions. Cost: one pass to build, then a binary search and one line per
// query.
class LineIndex {
 public:
  explicit LineIndex(std::string_view text);
  // Of the bytes [begin, end); the length ends with the line.
  Position at(std::size_t begin, std::size_t end) const;

 private:
  // Columns on lines of megabytes (minified JSON) would make each query scan the line: a mark every
  // so many bytes.
  struct Mark {
    std::size_t offset = 0;
    int line = 1;
    int col = 1;
  };
  std::string_view text_;
  std::vector<Mark> marks_;
};

}  // namespace orrery
