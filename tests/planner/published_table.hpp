#pragma once
// Rows of a CSV file in tests/data/published/ (a header line, no quoting).
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace orrery {

class PublishedRow {
 public:
  explicit PublishedRow(std::map<std::string, std::string> fields) : fields_(std::move(fields)) {}
  const std::string& text(const std::string& column) const { return fields_.at(column); }
  double number(const std::string& column) const { return std::stod(text(column)); }
  int count(const std::string& column) const { return std::stoi(text(column)); }

 private:
  std::map<std::string, std::string> fields_;
};

inline std::vector<std::string> csv_fields(const std::string& line) {
  std::vector<std::string> fields;
  std::istringstream stream(line);
  for (std::string field; std::getline(stream, field, ',');) fields.push_back(field);
  return fields;
}

inline std::vector<PublishedRow> published_table(const std::string& name) {
  std::ifstream file(std::string(ORRERY_TEST_DATA "/published/") + name);
  if (!file) throw std::runtime_error("cannot read published table " + name);
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> columns = csv_fields(line);
  std::vector<PublishedRow> rows;
  while (std::getline(file, line)) {
    const std::vector<std::string> fields = csv_fields(line);
    std::map<std::string, std::string> row;
    for (std::size_t column = 0; column < columns.size(); ++column) {
      row[columns[column]] = fields.at(column);
    }
    rows.emplace_back(std::move(row));
  }
  return rows;
}

}  // namespace orrery
