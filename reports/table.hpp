#pragma once
// Tables of a terminal: columns as wide as their widest cell, two spaces between them.
#include <string>
#include <vector>

namespace orrery {

struct Column {
  std::string title;
  std::string absent;  // the column is left out where every cell says this; empty: never
  bool left = false;
  std::vector<std::string> cells = {};
};

// Indented by two; `rows` cells in every column; ends with a newline.
std::string table_text(const std::vector<Column>& columns, std::size_t rows);

}  // namespace orrery
