#include "reports/published_runs_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "reports/number.hpp"

namespace orrery {
namespace {

constexpr double kFar = 0.3;
constexpr double kFarMemory = 0.1;

struct Row {
  const TrainingRun* run = nullptr;
  RunPrediction predicted;
  double error() const { return predicted.step / run->step - 1; }
  bool has_memory() const { return run->memory && predicted.why_not.empty(); }
  double memory_error() const { return predicted.compared / *run->memory - 1; }
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
  void add(double error, double too_far) {
    ++runs;
    absolute += std::abs(error);
    sum += error;
    far += std::abs(error) > too_far;
    if (std::abs(error) > std::abs(worst)) worst = error;
  }
  void add(const Row& row) {
    if (row.predicted.why_not.empty()) {
      add(row.error(), kFar);
    } else {
      ++no_plan;
    }
  }
};

std::string errors_row(const std::string& name, const Errors& errors) {
  const double count = std::max(1, errors.runs);
  return fmt::format("| {} | {} | {} | {} | {} | {} |", name, errors.runs,
                     percent(errors.absolute / count), signed_percent(errors.sum / count),
                     signed_percent(errors.worst), errors.far);
}

std::string step_row(const std::string& name, const Errors& errors) {
  return errors_row(name, errors) + fmt::format(" {} |\n", errors.no_plan);
}

std::string memory_table(const std::vector<Row>& rows) {
  std::map<std::string, Errors> sources;
  Errors all;
  for (const Row& row : rows) {
    if (!row.has_memory()) continue;
    const std::string& framework = row.run->framework;
    sources[row.run->memory_is == MemoryFigure::kFormula ? framework + ", by formula"
                                                         : framework + ", allocated"]
        .add(row.memory_error(), kFarMemory);
    all.add(row.memory_error(), kFarMemory);
  }
  std::string text =
      "\nMemory of the fullest GPU where a figure was published, compared with what that figure is "
      "of: four are not measured but the paper's formula; the others are taken for what PyTorch's "
      "allocator has handed out, in which CUDA's context, NCCL's buffers and the allocator's slack "
      "have no part.\n\n"
      "| figures | runs | mean absolute error | mean error | worst | beyond 10 % |\n"
      "|---|---:|---:|---:|---:|---:|\n" +
      errors_row("**all**", all) + "\n";
  for (const auto& [name, errors] : sources) text += errors_row(name, errors) + "\n";
  return text;
}

std::string joined(const std::vector<std::string>& names) {
  std::string text = names.front();
  for (std::size_t at = 1; at < names.size(); ++at)
    text += (at + 1 == names.size() ? " and " : ", ") + names[at];
  return text;
}

// What was aimed at for runs with experts, and is missed.
std::string experts_paragraph(const std::vector<Row>& rows) {
  constexpr double kGoal = 0.15;
  Errors all, near;
  for (const Row& row : rows) {
    if (!row.run->is_moe() || !row.predicted.why_not.empty()) continue;
    all.add(row.error(), kFar);
    if (std::abs(row.error()) <= kFar) near.add(row.error(), kFar);
  }
  if (all.runs == 0 || all.absolute <= kGoal * all.runs) return "";
  return fmt::format(
      "\nThe goal for runs with experts, {} on average, is missed: {} on average of {}, {} of the "
      "{} that are not beyond 30 %. Effects of their recipes (experts recomputed, NCCL's "
      "all-to-all, autograd's order of weight gradients) were modelled after these errors had been "
      "looked at, from what the recipes and frameworks say; no constant was fitted to a step "
      "time.\n",
      percent(kGoal), percent(all.absolute / all.runs), all.runs,
      percent(near.absolute / std::max(1, near.runs)), near.runs);
}

// Runs that were made, and so had room.
std::string too_large(const std::vector<Row>& rows) {
  std::vector<std::string> names;
  for (const Row& row : rows) {
    if (!row.predicted.fits) names.push_back(row.run->id);
  }
  if (names.empty()) return "";
  return fmt::format(
      "\n{} of the runs are predicted not to fit the GPU that they ran on, so their memory is "
      "predicted too large (+ in the table): {}. None of them published its memory or all of its "
      "precisions. Gradients are kept in FP32 here, and with FP8 copies of the weights beside "
      "those in BF16; gradients in BF16 or none of these copies would let most of them fit. "
      "`orrery plan` would refuse these layouts.\n",
      names.size(), joined(names));
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
    return text + fmt::format(" | {} | | | | |\n", row.predicted.why_not);
  text += fmt::format(" {:.3f} | {} |", row.predicted.step.value(), signed_percent(row.error()));
  const auto gib = [](Bytes bytes) { return bytes.value() / (1 << 30); };
  text += fmt::format(" {:.1f}{} |", gib(row.predicted.memory), row.predicted.fits ? "" : "+");
  if (!row.has_memory()) return text + " | | |\n";
  return text + fmt::format(" {:.1f} | {:.1f} | {} |\n", gib(row.predicted.compared),
                            gib(*run.memory), signed_percent(row.memory_error()));
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
      "here has set a constant: kernels are the H800's, scaled to the A100 by data sheet "
      "(calibration/a100.toml), and were fixed before any of these step times was looked at. Every "
      "run is simulated with contention on the cluster of its GPU that ships.\n\n"
      "| runs | predicted | mean absolute error | mean error | worst | beyond 30 % | no plan |\n"
      "|---|---:|---:|---:|---:|---:|---:|\n";
  text += step_row("**dense**", dense) + step_row("**experts**", experts);
  for (const auto& [name, errors] : kinds) text += step_row(name, errors);
  text += experts_paragraph(rows);
  text += memory_table(rows) + too_large(rows);
  text +=
      "\nWhat the errors may point to; none of it is modelled yet, and none has been measured "
      "apart:\n\n"
      "- Runs with experts are predicted too short: their kernels are here as fast as DeepSeek's "
      "own, and their experts equally loaded. Megatron-Core's all-to-all, where the recipe has it, "
      "and autograd's order of weight gradients are modelled; what the host waits for row counts, "
      "and what the older release's experts one after another cost, is not.\n"
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
      "- NCCL's all-to-all is taken to reach the NIC's 46 GB/s, as nccl-tests did on two nodes "
      "(deepseek-ai/DeepEP issue 3). In training on eight nodes a profile of DeepSeek-V3's first "
      "layers in Megatron-LM shows 13 ms an exchange (issue 59), which for 4,096 tokens a GPU "
      "would be 32 GB/s. Its sizes are not published, so it sets nothing here; train-0713, "
      "predicted 11.8 "
      "ms a layer and micro-batch too short, has four such exchanges in each, of half the tokens.\n"
      "- Grok-1's runs of release v25.03 cut every expert over the tensor-parallel group, that of "
      "v25.05.05 does not: 16.9 s and 13.4 s on as many GPUs (train-0104, train-0106), predicted "
      "about alike. Each of the older release's fifteen takes 2.6 to 4.2 ms a layer and "
      "micro-batch "
      "more than predicted, on 8 GPUs as on 2048 and with one local expert as with four; that of "
      "the newer 0.1 ms. FlashAttention-2 in the place of cuDNN (grok1/configure.sh) is a small "
      "part of it, as all of attention with its projections is predicted at 1.7 of train-0940's "
      "19.8 ms. What would fit is GeGLU as PyTorch runs it operation by operation when its "
      "compiler gives up: 8,192 rows of 2 x 8,192 in some forty passes, 10 GB more than fused, 3.5 "
      "ms. But the recipe (grok1/grok1_314b.yaml) asks for the fused one, so it is not modelled: "
      "nobody has published these runs' kernels.\n"
      "- The six runs beyond 30 % are Moonlight's (train-0111 to train-0116), one micro-batch of "
      "2,048 tokens a GPU. All of them take 0.30 to 0.35 s longer than predicted, and recomputing "
      "attention's core alone takes 18 ms more: the GPU seems to wait for the host that launches. "
      "Megatron-LM's own tests on a DGX H100 point to how much: models of 12 layers with experts, "
      "512 wide, take 0.22 s with five rounds of six layers one after another and 0.37 s with nine "
      "(golden_values_dev_dgx_h100.json of tests/functional_tests/test_cases/moe, tp2_pp2_ep2 and "
      "its etp2), so at most 7 ms a layer and micro-batch, all else of the step in it; 27 layers "
      "of "
      "that are 0.2 s. Launches by a host are not modelled: there is no measurement kernel by "
      "kernel to set their time. What there is, the host's time for a linear layer in PyTorch on a "
      "DGX H100, 13.5 us (NVIDIA/TransformerEngine issue 2053), would have to be spent 820 times a "
      "layer.\n\n"
      "Seconds a step; \\* from a published throughput. Memory of the fullest GPU, GiB: all of it "
      "(+ more than there is), what is compared, and the published figure.\n\n"
      "| run | model | GPUs | layout | schedule | batch | published, s | predicted, s | error | "
      "memory | compared | published | error |\n"
      "|---|---|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const Row& row : rows) text += run_row(row);
  return text;
}

}  // namespace orrery
