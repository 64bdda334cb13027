#include "reports/published_runs_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "reports/number.hpp"

namespace orrery {
namespace {

constexpr double kFar = 0.3;

struct Row {
  const TrainingRun* run = nullptr;
  RunPrediction predicted;
  double error() const { return predicted.step / run->step - 1; }
};

// Runs of one kind: what differs between kinds is what a common error would point to.
std::string kind_of(const TrainingRun& run) {
  return fmt::format("{} on {}, {}", run.is_moe() ? "experts" : "dense",
                     run.gpu == "a100" ? "A100" : "H100",
                     is_fp8(run.layout.precision) ? "FP8" : "BF16 or FP16");
}

struct Errors {
  int runs = 0, far = 0, no_plan = 0;
  double absolute = 0, sum = 0, worst = 0;
  void add(const Row& row) {
    if (!row.predicted.why_not.empty()) {
      ++no_plan;
      return;
    }
    ++runs;
    absolute += std::abs(row.error());
    sum += row.error();
    far += std::abs(row.error()) > kFar;
    if (std::abs(row.error()) > std::abs(worst)) worst = row.error();
  }
};

std::string errors_row(const std::string& name, const Errors& errors) {
  const double count = std::max(1, errors.runs);
  return fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", name, errors.runs,
                     percent(errors.absolute / count), signed_percent(errors.sum / count),
                     signed_percent(errors.worst), errors.far, errors.no_plan);
}

std::string layout_of(const TrainingRun& run) {
  const Layout& layout = run.layout;
  std::string text = fmt::format("pp{} tp{}", layout.pp, layout.tp);
  if (layout.cp > 1) text += fmt::format(" cp{}", layout.cp);
  if (layout.ep > 1) text += fmt::format(" ep{}", layout.ep);
  if (layout.vpp > 1) text += fmt::format(" x{}", layout.vpp);
  return text + fmt::format(" mbs{}", layout.micro_batch);
}

std::string run_row(const Row& row) {
  const TrainingRun& run = *row.run;
  std::string text =
      fmt::format("| {} | {} | {} {} | {} | {} | {} | {:.3f}{} |", run.id, run.model.name,
                  grouped(run.gpus), run.gpu, layout_of(run), run.schedule,
                  run.training.global_batch, run.step.value(), run.derived ? "\\*" : "");
  if (!row.predicted.why_not.empty())
    return text + fmt::format(" | {} | | |\n", row.predicted.why_not);
  text += fmt::format(" {:.3f} | {} |", row.predicted.step.value(), signed_percent(row.error()));
  text += fmt::format(" {:.1f} |", row.predicted.memory.value() / 1e9);
  if (!run.memory) return text + " |\n";
  return text + fmt::format(" {:.1f} |\n", run.memory->value() / 1e9);
}

}  // namespace

std::string published_runs_report(const std::vector<TrainingRun>& runs,
                                  const std::function<void(int, int)>& progress) {
  std::vector<Row> rows;
  for (const TrainingRun& run : runs) {
    if (progress) progress(static_cast<int>(rows.size()) + 1, static_cast<int>(runs.size()));
    rows.push_back({&run, predict_run(run)});
  }
  std::map<std::string, Errors> kinds;
  Errors dense, experts;
  for (const Row& row : rows) {
    kinds[kind_of(*row.run)].add(row);
    (row.run->is_moe() ? experts : dense).add(row);
  }
  std::string text =
      "# Published training runs, predicted\n\nWritten by `orrery validate --suite published -o "
      "reports/published-runs.md`; `orrery validate --suite published` fails when the errors "
      "change.\n\nRuns that others published with their whole configuration "
      "(reports/published/training-runs.toml has sources and what was taken for what). Nothing "
      "here "
      "has set a constant: kernels are the H800's, scaled to the A100 by data sheet "
      "(calibration/a100.toml), and were fixed before any of these step times was looked at. Every "
      "run is simulated with contention on the cluster of its GPU that ships.\n\n"
      "| runs | predicted | mean absolute error | mean error | worst | beyond 30 % | no plan |\n"
      "|---|---:|---:|---:|---:|---:|---:|\n";
  text += errors_row("**dense**", dense) + errors_row("**experts**", experts);
  for (const auto& [name, errors] : kinds) text += errors_row(name, errors);
  text +=
      "\nWhat the errors may point to; none of it is modelled yet, and none has been measured "
      "apart:\n\n"
      "- Runs with experts are predicted too short: their products and exchanges are here as fast "
      "as "
      "DeepSeek's own kernels; Megatron-Core's NCCL all-to-all, permutation of tokens and waits of "
      "the host for row counts are not modelled.\n"
      "- The H100 runs overlap gradient reduction and parameter gathering with computation, and "
      "tensor-parallel collectives with their GEMMs; here they stand behind the last cell, and "
      "behind the kernels that need them. That weighs most where a step has few micro-batches "
      "(train-1015, train-1249).\n"
      "- The smaller the model, the shorter the prediction: the host that launches the kernels, "
      "hidden dropout and biases are not modelled, nor ZB-2p's post-validation and barriers.\n"
      "- Releases differ: train-1011, train-1013 and train-1074 are one layout, 14 % apart.\n"
      "- Kernels of the A100 are the H800's scaled by peak. Runs of 2021 and 2022 and the "
      "zero-bubble ones keep or recompute attention's scores (attention = \"unfused\"), whose "
      "kernels are timed by their bytes and by the law of BF16 products.\n"
      "- A run without a plan has expert parallelism across tensor-parallel GPUs, or embedding and "
      "head in stages of their own; neither can be said yet.\n\n"
      "Seconds a step; \\* from a published throughput. Memory of the fullest GPU, GB.\n\n"
      "| run | model | GPUs | layout | schedule | batch | published, s | predicted, s | error | "
      "memory | published |\n|---|---|---|---|---|---:|---:|---:|---:|---:|---:|\n";
  for (const Row& row : rows) text += run_row(row);
  return text;
}

}  // namespace orrery
