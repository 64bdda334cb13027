#include "reports/comparison.hpp"

#include <fmt/format.h>

#include "reports/number.hpp"

namespace orrery {
namespace {

std::string value(const ComparedRow& row, double number) {
  return fmt::format("{:.{}f}", number, row.decimals);
}

}  // namespace

std::vector<ComparedRow> compare_step(const StepSummary& summary, const PublishedStep& published) {
  const Breakdown& mean = summary.mean;
  const Breakdown& first = summary.ranks.front().time;
  constexpr double kHoursPerDay = 24;
  const double hours_per_trillion = summary.gpus * kHoursPerDay * 1e12 / summary.tokens_per_day;
  return {
      {"F", "s", published.F_s, mean.F.value(), first.F.value()},
      {"bubble", "s", published.bubble_s, mean.bubble.value(), first.bubble.value()},
      {"I (1B)", "s", published.I_s, mean.I.value(), first.I.value()},
      {"W", "s", published.W_s, mean.W.value(), first.W.value()},
      {"F&B (1F1B)", "s", published.FB_s, mean.FB.value(), first.FB.value()},
      {"optimizer", "s", published.optimizer_s, mean.optimizer.value(), first.optimizer.value()},
      {"step", "s", published.step_s, summary.step.value(), std::nullopt},
      {"tokens a day", "10^9", published.tokens_per_day_b, summary.tokens_per_day / 1e9,
       std::nullopt, 1},
      {"causal", "TFLOPS", published.tflops_causal, in_teraflops(summary.causal), std::nullopt, 1},
      {"non-causal", "TFLOPS", published.tflops_noncausal, in_teraflops(summary.noncausal),
       std::nullopt, 1},
      {"MFU causal", "%", published.mfu_causal_pct, 100 * summary.mfu_causal, std::nullopt, 2},
      {"MFU non-causal", "%", published.mfu_noncausal_pct, 100 * summary.mfu_noncausal,
       std::nullopt, 2},
      {"GPU-hours a 10^12 tokens", "10^3", published.gpu_hours_per_t_k, hours_per_trillion / 1e3,
       std::nullopt, 1},
  };
}

std::vector<ComparedRow> compare_pair(const ChunkPair& pair, const PublishedPair& published) {
  std::vector<ComparedRow> rows = {
      {"wall", "ms", published.wall_ms, in_milliseconds(pair.wall), std::nullopt, 1},
      {"compute busy", "ms", published.compute_busy_ms, in_milliseconds(pair.compute_busy),
       std::nullopt, 1},
      {"compute idle", "ms", published.compute_idle_ms, in_milliseconds(pair.compute_idle()),
       std::nullopt, 1},
  };
  for (std::size_t slot = 0; slot < published.slots_ms.size() && slot < pair.slots.size(); ++slot) {
    rows.push_back({fmt::format("layer slot {}", slot), "ms", published.slots_ms[slot],
                    in_milliseconds(pair.slots[slot]), std::nullopt, 1});
  }
  return rows;
}

std::string comparison_text(const std::vector<ComparedRow>& rows) {
  std::string text = fmt::format("  {:<34}{:>11}{:>11}{:>10}{:>11}{:>10}\n", "", "published",
                                 "predicted", "error", "rank 0", "error");
  for (const ComparedRow& row : rows) {
    text += fmt::format("  {:<34}{:>11}{:>11}{:>10}", row.name + ", " + row.unit,
                        value(row, row.published), value(row, row.predicted),
                        signed_percent(row.error()));
    if (row.rank0)
      text +=
          fmt::format("{:>11}{:>10}", value(row, *row.rank0), signed_percent(row.rank0_error()));
    text += "\n";
  }
  return text;
}

std::string comparison_markdown(const std::vector<ComparedRow>& rows) {
  std::string text =
      "| | published | predicted | error | rank 0 | error |\n|---|---:|---:|---:|---:|---:|\n";
  for (const ComparedRow& row : rows) {
    text += fmt::format("| {}, {} | {} | {} | {} | {} | {} |\n", row.name, row.unit,
                        value(row, row.published), value(row, row.predicted),
                        signed_percent(row.error()), row.rank0 ? value(row, *row.rank0) : "",
                        row.rank0 ? signed_percent(row.rank0_error()) : "");
  }
  return text;
}

}  // namespace orrery
