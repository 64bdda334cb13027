#include "reports/realrun_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "core/stage_map.hpp"
#include "reports/number.hpp"
#include "workload/parameters.hpp"

namespace orrery {

std::string realrun_heading(const Plan& plan, const TrainingOptions& options,
                            const std::string& corpus, std::string_view ranks_as) {
  const Layout& layout = plan.layout;
  std::string text =
      fmt::format("Training {} for real on {}\n\n", plan.model.name, machine_fingerprint());
  text += fmt::format("  model      {} parameters and {} of MTP, {} active a token\n",
                      compact_count(total_parameters(plan.model)),
                      compact_count(mtp_parameters(plan.model)),
                      compact_count(active_parameters(plan.model, false)));
  text += fmt::format("  layout     {}, {} ranks as {}, ZeRO-{}, {}, recompute {}\n",
                      describe(layout), layout.gpus(), ranks_as, layout.zero_stage,
                      to_string(layout.precision), to_string(layout.recompute));
  text += fmt::format("  stages     {}\n", format_stage_map(layout.stage_map));
  text += fmt::format("  schedule   {}, {} micro-batches of {} x {} tokens on each rank\n",
                      plan.schedule.family, plan.microbatches(), layout.micro_batch,
                      plan.training.sequence);
  text += fmt::format("  text       {}, bytes as tokens; scalar {}, seed {}, learning rate {:g}\n",
                      corpus.empty() ? "made by orrery" : corpus,
                      options.scalar == HostScalar::kFloat ? "float" : "double",
                      options.recipe.seed, options.recipe.learning_rate);
  if (options.pace > 0)
    text += fmt::format("  pace       every instruction lasts {:g} times its calibrated time\n",
                        options.pace);
  text += fmt::format("\n{:>8}{:>12}{:>12}{:>12}{:>14}{:>12}{:>12}\n", "step", "loss, nats",
                      "MTP loss", "gradient", "load max/mean", "step, s", "held-out");
  return text;
}

std::string realrun_step_line(const Plan& plan, const StepReport& report) {
  const StepResult& result = report.result;
  const bool experts = plan.model.moe.experts > 0;
  std::string text = fmt::format(
      "{:>8}{:>12.4f}{:>12}{:>12.3f}{:>14}{:>12.4f}", report.step, result.loss,
      plan.model.mtp_depth > 0 ? fmt::format("{:.4f}", result.mtp_loss) : "-", result.gradient_norm,
      experts ? fmt::format("{:.3f}", expert_evenness(result.loads)) : "-",
      result.timeline.step.value());
  text += report.held_out ? fmt::format("{:>12.4f}\n", *report.held_out) : "\n";
  return text;
}

std::string realrun_closing(const Plan& plan, const TrainingResult& result) {
  if (result.run.steps.empty())
    return fmt::format("\nNothing to do: step {} is past the last one\n", result.first_step);
  const auto [least, most] = std::minmax_element(result.run.steps.begin(), result.run.steps.end());
  const double median = result.median.timeline.step.value();
  const double peak =
      result.run.peak_bytes.empty()
          ? 0
          : *std::max_element(result.run.peak_bytes.begin(), result.run.peak_bytes.end());
  double busy = 0;
  for (Seconds work : result.run.work) busy += work.value();
  std::string text = fmt::format(
      "\nMedian step  {:.4f} s ({:.4f} to {:.4f} over {} steps after the warm-up), {} tokens/s\n",
      median, least->value(), most->value(), result.run.steps.size(),
      compact_count(plan.training.tokens_per_step() / median));
  text += fmt::format("CPU time     {:.4f} s a step on {} cores: they are busy {:.0f} % of it\n",
                      busy, result.run.cores, 100 * busy / (median * result.run.cores));
  text += fmt::format("Peak memory  {:.1f} MiB of activations and messages on the fullest rank\n",
                      peak / 1048576);
  return text;
}

}  // namespace orrery
