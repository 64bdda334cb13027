#include "reports/kept_pair.hpp"

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

#include "core/catalog.hpp"
#include "core/error.hpp"
#include "core/file.hpp"

namespace orrery {
namespace {

constexpr const char* kReport = "reports/h200-chunk-pair.md";

// The cells of a row of a Markdown table, without what makes them bold.
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::istringstream row(line);
  for (std::string cell; std::getline(row, cell, '|');) {
    std::erase_if(cell, [](char c) { return c == '*' || c == ' '; });
    cells.push_back(cell);
  }
  return cells;
}

}  // namespace

KeptPair read_kept_pair(const std::string& report) {
  std::istringstream text(report);
  for (std::string line; std::getline(text, line);) {
    if (!line.starts_with("| wall, ms |")) continue;
    // | wall, ms | H800 published | H800 predicted | H200 predicted | ratio |
    const std::vector<std::string> cells = cells_of(line);
    if (cells.size() < 5) break;
    const double published = std::atof(cells[2].c_str()), predicted = std::atof(cells[4].c_str());
    if (published > 0 && predicted > 0)
      return {Seconds{1e-3 * published}, Seconds{1e-3 * predicted}};
  }
  throw InputError(
      fmt::format("error: {} does not say how long a pair is\n"
                  "  `orrery validate --suite h200 -o {}` writes it",
                  kReport, kReport));
}

std::optional<KeptPair> kept_pair_for(const Plan& plan) {
  const Layout& layout = plan.layout;
  const bool same = plan.model.name == "deepseek-v3" && plan.tokens_per_microbatch() == 4096 &&
                    layout.ep == 64 && layout.tp == 1 && layout.etp == 1 && layout.cp == 1 &&
                    layout.comm_sms == 20 && layout.precision == Precision::kFp8 &&
                    layout.recompute == Recompute::kSelective;
  if (!same) return std::nullopt;
  return read_kept_pair(read_file((std::filesystem::path(data_root()) / kReport).string()));
}

}  // namespace orrery
