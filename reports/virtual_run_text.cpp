#include "reports/virtual_run_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/stage_map.hpp"
#include "reports/number.hpp"
#include "reports/table.hpp"

namespace orrery {
namespace {

constexpr std::size_t kMostGradients = 8;

std::string thousandths(double share) {
  return fmt::format("{:.3f} %", 100 * share);
}

std::string rung(const std::string& name, double limit, double worst, const std::string& where) {
  return fmt::format("  {:<36}within {:<6}worst {:<10}{}{}\n", name,
                     fmt::format("{:g} %,", 100 * limit), thousandths(worst),
                     worst <= limit ? "pass" : "FAIL", where.empty() ? "" : "  (" + where + ")");
}

std::string ladder_text(const VirtualRun& run) {
  const Ladder& ladder = run.ladder;
  std::string text = fmt::format("\nLadder: against the host's kernels in float, same weights{}\n",
                                 run.kernels.simulated ? " (EMULATED)" : "");
  if (run.kernels.simulated) {
    text +=
        "  the host's kernels, rounded as a GPU's would be: says what the formats do, nothing of "
        "a GPU\n";
  }
  text += rung(
      fmt::format("loss of {} step{}", ladder.losses.size(), ladder.losses.size() == 1 ? "" : "s"),
      Ladder::kLossLimit, ladder.worst_loss(), "");
  text += rung(fmt::format("{} gradients of the first step", ladder.gradients.size()),
               ladder.gradient_limit, ladder.worst_gradient(),
               ladder.gradients.empty() ? "" : ladder.gradients.front().name);
  text += fmt::format(
      "  first step: {} of {} choices of experts were other ones, and followed the host's\n\n",
      ladder.changed, ladder.choices);
  std::vector<Column> columns = {{"largest gradient errors", "", true}, {"relative", ""}};
  const std::size_t rows = std::min(kMostGradients, ladder.gradients.size());
  for (std::size_t at = 0; at < rows; ++at) {
    columns[0].cells.push_back(ladder.gradients[at].name);
    columns[1].cells.push_back(thousandths(ladder.gradients[at].error));
  }
  return text + table_text(columns, rows);
}

}  // namespace

std::string virtual_run_heading(const VirtualRunInput& input, const VirtualDevice& device,
                                const std::string& source, const std::string& corpus) {
  const Plan& plan = input.plan;
  const Layout& layout = plan.layout;
  std::string text =
      fmt::format("Training {} in virtual time: {} ranks in turn on one device{}\n\n",
                  plan.model.name, layout.gpus(), device.simulated() ? " (SIMULATED)" : "");
  text += fmt::format("  device     {}\n", device.name());
  if (device.simulated()) text += "             no GPU takes part: no time below was measured\n";
  text += fmt::format("  layout     {}, ZeRO-{}, {}, recompute {}\n", describe(layout),
                      layout.zero_stage, to_string(layout.precision), to_string(layout.recompute));
  text += fmt::format("  stages     {}\n", format_stage_map(layout.stage_map));
  text += fmt::format("  schedule   {}, {} micro-batches of {} x {} tokens on each rank\n",
                      plan.schedule.family, plan.microbatches(), layout.micro_batch,
                      plan.training.sequence);
  text += fmt::format(
      "  clocks     ops {} one by one in step {}; communication as predicted ({}, "
      "calibration '{}')\n",
      device.simulated() ? "as their calibration has them," : "timed", input.steps, source,
      input.calibration);
  text += fmt::format(
      "  text       {}, bytes as tokens; seed {}, learning rate {:g}, weights of "
      "standard deviation {:g}\n",
      corpus.empty() ? "made by orrery" : corpus, input.recipe.seed, input.recipe.learning_rate,
      input.recipe.init_std);
  return text +
         fmt::format("\n{:>8}{:>14}{:>14}{:>12}\n", "step", "loss, nats", "host, float", "error");
}

std::string virtual_run_step_line(int step, const Ladder& ladder) {
  return fmt::format(
      "{:>8}{:>14.4f}{:>14.4f}{:>12}\n", step + 1, ladder.losses.back(), ladder.reference.back(),
      fmt::format("{:+.3f} %", 100 * (ladder.losses.back() / ladder.reference.back() - 1)));
}

std::string virtual_run_closing(const Timeline& predicted, const VirtualRun& run) {
  std::string text = ladder_text(run);
  std::set<std::string> stand_ins;
  for (const MeasuredOp& op : run.kernels.ops) {
    if (!op.stand_in.empty()) stand_ins.insert(op.op + ": " + op.stand_in);
  }
  if (!stand_ins.empty()) text += "\n  ops without a kernel of their own\n";
  for (const std::string& each : stand_ins) text += "    " + each + "\n";
  return text + fmt::format("\nStep  {:.3f} ms by virtual clocks{}, predicted {:.3f} ms: {}\n",
                            in_milliseconds(run.timeline.step),
                            run.kernels.simulated ? " of a SIMULATED device" : "",
                            in_milliseconds(predicted.step),
                            signed_percent(predicted.step / run.timeline.step - 1));
}

}  // namespace orrery
