#pragma once
// Predicted next to published, with signed errors.
#include <optional>
#include <string>
#include <vector>

#include "planner/step_summary.hpp"
#include "reports/published.hpp"
#include "sim/chunk_pair.hpp"

namespace orrery {

struct ComparedRow {
  std::string name;
  std::string unit;
  double published = 0;
  double predicted = 0;         // mean over pipeline ranks, or of the whole step
  std::optional<double> rank0;  // where ranks differ
  int decimals = 3;

  double error() const { return predicted / published - 1; }
  double rank0_error() const { return *rank0 / published - 1; }
};

std::vector<ComparedRow> compare_step(const StepSummary& summary, const PublishedStep& published);
std::vector<ComparedRow> compare_pair(const ChunkPair& pair, const PublishedPair& published);

// Aligned columns for a terminal; the same as a Markdown table.
std::string comparison_text(const std::vector<ComparedRow>& rows);
std::string comparison_markdown(const std::vector<ComparedRow>& rows);

}  // namespace orrery
