#include "reports/table.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace orrery {
namespace {

bool is_shown(const Column& column) {
  return column.absent.empty() ||
         std::any_of(column.cells.begin(), column.cells.end(),
                     [&](const std::string& cell) { return cell != column.absent; });
}

std::size_t width_of(const Column& column) {
  std::size_t width = column.title.size();
  for (const std::string& cell : column.cells) width = std::max(width, cell.size());
  return width;
}

}  // namespace

std::string table_text(const std::vector<Column>& columns, std::size_t rows) {
  std::string text;
  for (std::size_t row = 0; row <= rows; ++row) {
    std::string line = "  ";
    for (const Column& column : columns) {
      if (!is_shown(column)) continue;
      const std::string& cell = row == 0 ? column.title : column.cells[row - 1];
      line += column.left ? fmt::format("{:<{}}  ", cell, width_of(column))
                          : fmt::format("{:>{}}  ", cell, width_of(column));
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace orrery
