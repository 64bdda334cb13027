#include "reports/host_validation_text.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace orrery {
namespace {

std::string percent(double share) {
  return fmt::format("{:+.1f} %", 100 * share);
}

}  // namespace

std::string host_validation_text(const HostValidation& validation) {
  std::string text = fmt::format("Prediction against measurement on {}\n", validation.machine);
  text += fmt::format(
      "calibrated in {:.0f} s on layouts of one to four ranks, two micro-batches each, none of "
      "those below\n\n",
      validation.calibration_s);
  text += fmt::format("{:<52}{:>6}{:>6}{:>8}{:>14}{:>13}{:>9}{:>9}{:>12}{:>9}\n", "plan", "ranks",
                      "pace", "speed", "predicted, s", "measured, s", "error", "noise",
                      "worst wait", "null");
  for (const HostCase& each : validation.cases) {
    text += fmt::format("{:<52}{:>6}{:>6}{:>8}{:>14.4f}{:>13.4f}{:>9}{:>9}{:>12}{:>9}\n", each.name,
                        each.ranks, each.pace > 0 ? fmt::format("{:g}", each.pace) : "-",
                        fmt::format("{:.2f}", 1 / each.slower), each.predicted.value(),
                        each.measured.value(), percent(each.error()),
                        fmt::format("{:.1f} %", 100 * each.noise()),
                        fmt::format("{:.1f} %", 100 * each.wait_error), percent(each.null_error()));
  }
  text += fmt::format(
      "\n  step error  {:.1f} % on average (limit {:.0f} %), {:.1f} % at worst (limit {:.0f} %)\n",
      100 * validation.mean_error(), 100 * kMeanLimit, 100 * validation.worst_error(),
      100 * kStepLimit);
  text += fmt::format("  wait error  {:.1f} % of the step at worst (limit {:.0f} %)\n",
                      100 * validation.worst_wait_error(), 100 * kWaitLimit);
  text +=
      "  predicted: for the rows that the experts got in each step; pace: every instruction lasts "
      "so many\n"
      "  times its calibrated time; speed: of the cores, by a small matrix product run on each of "
      "them\n"
      "  every 5 ms, against that of the calibration: predicted for it; noise: half the range of "
      "the\n"
      "  measured steps; worst wait: of all ranks, predicted against measured idle compute time "
      "over "
      "the\n"
      "  step; null: error of total op time / cores (/ ranks where paced).\n";
  text += validation.holds() ? "All limits hold.\n" : "NOT ALL LIMITS HOLD.\n";
  return text;
}

std::string host_validation_json(const HostValidation& validation, double wall_s) {
  nlohmann::ordered_json out;
  out["format_version"] = "1.0";
  out["suite"] = "host";
  out["machine"] = validation.machine;
  out["holds"] = validation.holds();
  out["mean_error"] = validation.mean_error();
  out["worst_error"] = validation.worst_error();
  out["worst_wait_error"] = validation.worst_wait_error();
  for (const HostCase& each : validation.cases) {
    nlohmann::ordered_json row;
    row["plan"] = each.name;
    row["ranks"] = each.ranks;
    row["pace"] = each.pace;
    row["slower"] = each.slower;
    row["predicted_s"] = each.predicted.value();
    row["measured_s"] = each.measured.value();
    row["error"] = each.error();
    row["noise"] = each.noise();
    row["wait_error"] = each.wait_error;
    row["worst_rank"] = each.worst_rank;
    row["null_s"] = each.null_model.value();
    row["null_error"] = each.null_error();
    out["cases"].push_back(row);
  }
  out["timing"] = {{"wall_s", wall_s}, {"calibration_s", validation.calibration_s}};
  return out.dump(2) + "\n";
}

}  // namespace orrery
