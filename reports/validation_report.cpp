#include "reports/validation_report.hpp"

#include <fmt/format.h>

#include "core/stage_map.hpp"
#include "planner/plan_builder.hpp"
#include "planner/step_summary.hpp"
#include "reports/comparison.hpp"
#include "reports/number.hpp"
#include "reports/simulate_text.hpp"
#include "sim/chunk_pair.hpp"
#include "sim/cluster_step.hpp"
#include "sim/scaled_cost.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

constexpr const char* kCommand = "orrery validate -o reports/deepseek-v3-step.md";

StepSummary simulate(const Plan& plan, const Device& device, const CostSource& costs) {
  const Program program = lower(plan);
  const Timeline timeline = run_folded(plan, program, costs);
  return summarise(plan, device, program, timeline, costs);
}

// What if the head's BF16 weight gradient took as long as a forward GEMM of its shape? No large one
// of the H800 is public: what accumulating its result adds is derived.
class HeadGradientLikeForward : public CostSource {
 public:
  explicit HeadGradientLikeForward(const CostSource& base) : base_(base) {}
  ComputeCost compute(const Work& work, int lent_sms) const override {
    if (work.component != Component::kHead || work.pass != Pass::kW)
      return base_.compute(work, lent_sms);
    Work forward = work;
    for (Op& op : forward.ops) op.kernel = KernelClass::kGemm;
    return base_.compute(forward, lent_sms);
  }
  TransferCost transfer(const Work& work, bool beside_compute, int lent_sms) const override {
    return base_.transfer(work, beside_compute, lent_sms);
  }
  AssumedFigures assumed(const Program& program) const override { return base_.assumed(program); }

 private:
  const CostSource& base_;
};

// A bar would end the cell.
std::string table_cell(std::string text) {
  for (std::size_t bar = text.find('|'); bar != std::string::npos; bar = text.find('|', bar + 2))
    text.insert(bar, "\\");
  return "`" + text + "`";
}

// DeepSeek's map is not published, so the answer must not hang on the one assumed: the MTP module
// and the head with no layer, with two, and what orrery's own dynamic programming gives.
std::vector<StageMap> other_maps(const Plan& plan, const CostSource& costs) {
  std::vector<StageMap> maps;
  for (const char* text : {"E,3d,1t | 4t x 13 | 5t | m,L", "E,3d | 4t x 14 | 2t,m,L"}) {
    Diagnostics diagnostics;
    maps.push_back(parse_stage_map(text, diagnostics));
    diagnostics.throw_if_errors();
  }
  Model without_map = plan.model;
  without_map.stage_map.reset();
  maps.push_back(default_stage_map(without_map, sum_setting(plan, costs), plan.layout.pp));
  return maps;
}

std::string stage_map_section(const PublishedRun& published, const Plan& plan,
                              const StepSummary& summary, const DeviceModel& model) {
  const CostSource& costs = model.costs();
  std::string text =
      "## What the answer hangs on\n\nWhich layers lie on which stage is not published; the map "
      "above is "
      "assumed. The step with "
      "others:\n\n| stage map | step, s | error | bubble, s |\n|---|---:|---:|---:|\n";
  const auto row = [&](const StageMap& map, const StepSummary& result) {
    text += fmt::format("| {} | {:.3f} | {} | {:.3f} |\n", table_cell(format_stage_map(map)),
                        result.step.value(),
                        signed_percent(result.step.value() / published.step.step_s - 1),
                        result.mean.bubble.value());
  };
  row(plan.layout.stage_map, summary);
  for (const StageMap& map : other_maps(plan, costs)) {
    Plan variant = plan;
    variant.layout.stage_map = map;
    row(map, simulate(variant, model.device(), costs));
  }
  const StepSummary faster = simulate(plan, model.device(), HeadGradientLikeForward(costs));
  text += fmt::format(
      "\nThe rank with embedding and head is the slowest, and much of its time is the weight "
      "gradient of the output head, "
      "twice with MTP: a BF16 GEMM of which no large measurement is public; what accumulating its "
      "result in FP32 adds is derived (calibration/h800.toml). Timed like a forward GEMM of the "
      "same shape, "
      "the step would be {:.3f} s ({}).\n",
      faster.step.value(), signed_percent(faster.step.value() / published.step.step_s - 1));
  return text + "\n";
}

std::string pair_section(const PublishedRun& published, const Plan& plan, const CostSource& costs) {
  const std::vector<LayerKind> entries(4, LayerKind::kMoe);
  const ChunkPair pair = simulate_chunk_pair(plan, entries, costs);
  std::string text =
      "## One chunk pair\n\nA forward and a backward chunk of four MoE layers each, co-scheduled "
      "on one GPU, 112 SMs for "
      "computation and 20 for communication, no pipeline transfers. Published: sums over "
      "DeepSeek's public training "
      "trace.\n\n";
  text += comparison_markdown(compare_pair(pair, published.pair));
  text += fmt::format(
      "\nOf the predicted idle time {:.1f} ms are launch gaps and {:.1f} ms stalls. In the trace "
      "the exchanges of a "
      "layer wait {:.1f} ms in all for other GPUs before they move bytes, and part of that is "
      "exposed; the prediction has "
      "all GPUs of a group equally loaded and so no such wait.\n\n",
      in_milliseconds(pair.gaps), in_milliseconds(pair.stalls), published.pair.notify_ms);
  text +=
      "With communication taking longer or shorter:\n\n| communication time | wall, ms | stalls, "
      "ms |\n|---:|---:|---:|\n";
  for (double factor : {0.0, 1.0, 1.6, 2.0}) {
    const ChunkPair scaled = simulate_chunk_pair(plan, entries, ScaledExchangeCost(costs, factor));
    text += fmt::format("| x {:.1f} | {:.1f} | {:.1f} |\n", factor, in_milliseconds(scaled.wall),
                        in_milliseconds(scaled.stalls));
  }
  return text + "\n";
}

std::string remaining_error(const PublishedRun& published, const StepSummary& summary,
                            const ChunkPair& pair) {
  double pairs = 0;
  for (const RankSummary& rank : summary.ranks) {
    pairs += static_cast<double>(rank.n_FB) / static_cast<double>(summary.ranks.size());
  }
  const double step = summary.step.value() - published.step.step_s;
  const double alone = in_milliseconds(pair.wall) - published.pair.wall_ms;
  const double in_step = published.step.FB_s / pairs * 1e3;
  std::string text = "## What the remaining error is\n\n";
  text += fmt::format(
      "Predicted less published, the step differs by {:+.3f} s. What is measured about it:\n\n"
      "- The pair alone differs by {:+.1f} ms from the trace; {:.1f} pairs a step on a rank make "
      "{:+.2f} s of that.\n"
      "- If the published F&B time is a mean over ranks, a pair of the real run took {:.1f} ms, "
      "{:+.1f} ms against the "
      "same pair in the trace, which has no pipeline transfers and ran on one group of 64 "
      "GPUs.\n\n",
      step, alone, pairs, alone * pairs / 1e3, in_step, in_step - published.pair.wall_ms);
  text +=
      "What probably explains it, to be shown by modelling it: GPUs of a group wait for the "
      "slowest of them at every "
      "exchange (skew is not modelled here: experts are equally loaded and GPUs equally fast); "
      "stragglers among 2048 GPUs "
      "and transfers that arrive late add to that. Time that a rank loses inside its cells in "
      "reality shows as bubble "
      "in the prediction where the slowest stage sets the pace. The optimizer step predicted here "
      "is gradient reduction, "
      "the all-reduce of the gradient norm, the update and the gathering of parameters; what the "
      "published figure counts "
      "is not said. Lone I and W cells use all SMs of the device here; how many they had is not "
      "published either. No "
      "constant of the calibration comes from a step-level figure.\n\n";
  return text;
}

}  // namespace

std::string validation_report(const PublishedRun& published, const Plan& plan,
                              const DeviceModel& model) {
  const CostSource& costs = model.costs();
  const StepSummary summary = simulate(plan, model.device(), costs);
  const ChunkPair pair =
      simulate_chunk_pair(plan, std::vector<LayerKind>(4, LayerKind::kMoe), costs);
  std::string text = fmt::format(
      "# DeepSeek-V3's training step: predicted and published\n\nWritten by `{}`.\n\n", kCommand);
  text += "```\n" + plan_heading(plan) + "```\n\n";
  text += "## The step\n\n";
  text +=
      "Published: \"Insights into DeepSeek-V3\" (ISCA 2025, arXiv 2505.09343), table 4, MPFT; "
      "GPU-hours: DeepSeek-V3 "
      "Technical Report (arXiv 2412.19437), section 3.1. Which pipeline rank the published "
      "breakdown is of, or whether it "
      "is a mean, is not said: predicted is the mean over ranks, with rank 0 beside it.\n\n";
  text += comparison_markdown(compare_step(summary, published.step)) + "\n";
  text += "```\n" + time_table(summary) + "```\n\n";
  text += stage_map_section(published, plan, summary, model);
  text += pair_section(published, plan, costs);
  text += remaining_error(published, summary, pair);
  text +=
      fmt::format("## Assumed\n\nThe prediction rests on {} figures that nobody has published:\n\n",
                  summary.assumed.size());
  for (const AssumedFigure& figure : summary.assumed)
    text += fmt::format("- {}: {}\n", figure.name, figure.reason);
  return text;
}

}  // namespace orrery
