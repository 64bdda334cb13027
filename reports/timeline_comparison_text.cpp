#include "reports/timeline_comparison_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "reports/table.hpp"

namespace orrery {
namespace {

constexpr std::size_t kMostRanks = 32;  // rows of the table; the worst ones beyond that
constexpr std::size_t kMostKinds = 16;

// A share of -0.0 % is none.
std::string percent(double share) {
  return fmt::format("{:+.1f} %", std::abs(share) < 5e-4 ? 0.0 : 100 * share);
}

// Milliseconds, to what a step of any length is worth.
std::string milliseconds(Seconds time) {
  return fmt::format("{:.3f}", 1e3 * time.value());
}

std::string signed_milliseconds(Seconds time) {
  const double value = 1e3 * time.value();
  return fmt::format("{:+.3f}", std::abs(value) < 5e-4 ? 0.0 : value);
}

std::string relative(Seconds predicted, Seconds measured) {
  return measured > Seconds{0} ? percent(predicted / measured - 1) : "-";
}

bool is_measured(const TimelineFile& file) {
  return file.kernels || (file.run && !file.run->machine.empty());
}

std::string kernels_heading(const KernelRecord& kernels) {
  std::string text = fmt::format(": ops on {}, communication as predicted", kernels.device);
  if (kernels.simulated) {
    text +=
        "\n             SIMULATED DEVICE: no GPU took part, nothing in the columns 'measured' was "
        "measured";
  }
  return text;
}

std::string heading(const TimelineFile& predicted, const TimelineFile& measured) {
  std::string text = "Predicted against measured step\n\n";
  const Plan& plan = *measured.plan;
  text += fmt::format("  plan       {}, {}, {}, {} micro-batches of {} x {} tokens on each rank\n",
                      plan.model.name, describe(plan.layout), plan.schedule.family,
                      plan.microbatches(), plan.layout.micro_batch, plan.training.sequence);
  text += fmt::format("  predicted  {}, calibration '{}'\n", predicted.timeline.source,
                      predicted.plan ? predicted.plan->calibration.name : "");
  text += fmt::format("  measured   {}", measured.timeline.source);
  if (measured.kernels) text += kernels_heading(*measured.kernels);
  if (measured.run) {
    const RunRecord& run = *measured.run;
    text += fmt::format(": {} ranks on {} cores of {}", measured.timeline.gpus, run.cores,
                        run.machine.empty() ? "a modelled host" : run.machine);
    if (!run.scalar.empty()) text += ", " + run.scalar;
    if (run.pace > 0) text += fmt::format(", pace {:g}", run.pace);
  }
  text += "\n";
  const auto differ = [&](std::string_view what, double first, double second) {
    if (first == second) return;
    text +=
        fmt::format("  note       predicted for {} {:g}, measured with {:g}: not the same run\n",
                    what, first, second);
  };
  if (predicted.run && measured.run) {
    differ("cores", predicted.run->cores, measured.run->cores);
    differ("pace", predicted.run->pace, measured.run->pace);
  }
  if (is_measured(predicted) == is_measured(measured)) {
    text += fmt::format(
        "  note       both are {}: read 'predicted' as the first, 'measured' as the second\n",
        is_measured(measured) ? "measurements" : "predictions");
  }
  return text + "\n";
}

std::string step_table(const TimelineFile& measured, const TimelineComparison& comparison) {
  std::string text = fmt::format("  {:<12}{:>14} ms predicted{:>14} ms measured{:>12}\n", "step",
                                 milliseconds(comparison.predicted),
                                 milliseconds(comparison.measured), percent(comparison.error()));
  if (measured.run && measured.run->steps.size() > 1) {
    const auto& steps = measured.run->steps;
    const auto [least, most] = std::minmax_element(steps.begin(), steps.end());
    text += fmt::format("  {:<12}the median of {} steps of {} to {} ms\n", "", steps.size(),
                        milliseconds(*least), milliseconds(*most));
  }
  if (comparison.at_speed) {
    text += fmt::format(
        "  {:<12}{:>14} ms predicted, {}, had the calibration been made at the speed that the "
        "cores\n"
        "  {:<12}{:>14} had in this step: {:.2f} of its time for a small matrix product\n",
        "machine", milliseconds(*comparison.at_speed), percent(comparison.error_at_speed()), "", "",
        *comparison.slower);
  }
  if (comparison.replayed) {
    text += fmt::format(
        "  {:<12}{:>14} ms simulated with the op times that were measured, so that of the error\n",
        "replayed", milliseconds(*comparison.replayed));
    text += fmt::format("  {:<12}{:>14} of the step is op cost\n", "",
                        percent(comparison.op_cost_error()));
    text += fmt::format("  {:<12}{:>14} of the step is order, waiting and contention\n", "",
                        percent(comparison.residual()));
  } else {
    text += fmt::format("  {:<12}not split into op cost and residual: {}\n", "",
                        comparison.why_not_replayed);
  }
  if (measured.run && measured.run->cpu > Seconds{0}) {
    Seconds work;
    for (Seconds each : measured.run->work) work += each;
    text += fmt::format(
        "  {:<12}{:>14} ms of the process, {:.1f} % of it outside of instructions\n", "CPU time",
        milliseconds(measured.run->cpu), 100 * (1 - work / measured.run->cpu));
  }
  return text;
}

// Of the column of names: as wide as the longest.
std::size_t name_width(const TimelineComparison& comparison) {
  std::size_t width = 30;
  for (const KindComparison& kind : comparison.kinds) width = std::max(width, kind.name.size() + 4);
  return width;
}

std::string rank_table(const TimelineComparison& comparison) {
  std::string text =
      fmt::format("\n{:>6}{:>16}{:>16}{:>12}{:>16}{:>16}{:>14}\n", "rank", "busy pred., ms",
                  "measured", "error", "wait pred., ms", "measured", "% of step");
  std::vector<std::size_t> order(comparison.ranks.size());
  for (std::size_t rank = 0; rank < order.size(); ++rank) order[rank] = rank;
  if (order.size() > kMostRanks) {
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::abs(comparison.ranks[a].wait_error) > std::abs(comparison.ranks[b].wait_error);
    });
    order.resize(kMostRanks);
  }
  for (std::size_t rank : order) {
    const RankComparison& each = comparison.ranks[rank];
    text += fmt::format(
        "{:>6}{:>16}{:>16}{:>12}{:>16}{:>16}{:>14}\n", rank, milliseconds(each.busy_predicted),
        milliseconds(each.busy_measured), relative(each.busy_predicted, each.busy_measured),
        milliseconds(comparison.predicted - each.busy_predicted),
        milliseconds(comparison.measured - each.busy_measured), percent(each.wait_error));
  }
  text +=
      "        busy: computing; wait: the rest of the step; % of step: error of the wait over the "
      "measured step\n";
  if (order.size() < comparison.ranks.size()) {
    text += fmt::format("        the {} of {} ranks whose wait differs most\n", order.size(),
                        comparison.ranks.size());
  }
  return text;
}

std::string kind_table(const TimelineComparison& comparison) {
  std::string text = fmt::format(
      "\n{:<{}}{:>8}{:>16}{:>14}{:>12}{:>16}\n",
      comparison.by_cpu_time ? "kind of work (CPU time)" : "kind of work (span)",
      name_width(comparison), "number", "predicted, ms", "measured", "error", "difference");
  Seconds predicted, measured;
  Seconds rest_predicted, rest_measured;
  int number = 0, rest = 0;
  for (std::size_t row = 0; row < comparison.kinds.size(); ++row) {
    const KindComparison& kind = comparison.kinds[row];
    predicted += kind.predicted;
    measured += kind.measured;
    number += kind.instructions;
    if (row >= kMostKinds) {
      rest_predicted += kind.predicted;
      rest_measured += kind.measured;
      rest += kind.instructions;
    }
  }
  const auto row = [&](const std::string& name, int count, Seconds one, Seconds other) {
    text += fmt::format("{:<{}}{:>8}{:>16}{:>14}{:>12}{:>16}\n", name, name_width(comparison),
                        count, milliseconds(one), milliseconds(other), relative(one, other),
                        signed_milliseconds(one - other));
  };
  for (std::size_t at = 0; at < std::min(kMostKinds, comparison.kinds.size()); ++at) {
    const KindComparison& kind = comparison.kinds[at];
    row(kind.name, kind.instructions, kind.predicted, kind.measured);
  }
  if (rest > 0) {
    row(fmt::format("{} other kinds", comparison.kinds.size() - kMostKinds), rest, rest_predicted,
        rest_measured);
  }
  row("all", number, predicted, measured);
  return text;
}

std::string pair_table(const TimelineComparison& comparison) {
  constexpr std::size_t kMostPairs = 8;
  const std::vector<PairComparison>& pairs = comparison.pairs;
  if (pairs.empty()) return "";
  std::string text = fmt::format("\n{:<{}}{:>24}{:>14}{:>12}\n", "co-scheduled pair",
                                 name_width(comparison), "predicted, ms", "measured", "error");
  const auto row = [&](const std::string& name, Seconds predicted, Seconds measured) {
    text +=
        fmt::format("{:<{}}{:>24}{:>14}{:>12}\n", name, name_width(comparison),
                    milliseconds(predicted), milliseconds(measured), relative(predicted, measured));
  };
  Seconds predicted, measured;
  for (std::size_t at = 0; at < pairs.size(); ++at) {
    predicted += pairs[at].predicted;
    measured += pairs[at].measured;
    if (at < kMostPairs) {
      row(fmt::format("rank {}, cell {}", pairs[at].rank.value, pairs[at].cell),
          pairs[at].predicted, pairs[at].measured);
    }
  }
  const auto count = static_cast<double>(pairs.size());
  row(fmt::format("mean of {} pair{}", pairs.size(), pairs.size() == 1 ? "" : "s"),
      predicted / count, measured / count);
  return text;
}

std::string op_table(const TimelineFile& measured, const TimelineComparison& comparison) {
  constexpr std::size_t kMostOps = 24;
  if (comparison.ops.empty()) return "";
  std::vector<Column> columns = {{"op", "", true},      {"of", "", true}, {"launches", ""},
                                 {"predicted, us", ""}, {"measured", ""}, {"error", ""}};
  std::set<std::string> stand_ins;
  const std::size_t rows = std::min(kMostOps, comparison.ops.size());
  for (const MeasuredOp& op : comparison.ops) {
    if (!op.stand_in.empty()) stand_ins.insert(op.stand_in);
  }
  for (std::size_t at = 0; at < rows; ++at) {
    const MeasuredOp& op = comparison.ops[at];
    const std::string cells[] = {op.op + (op.stand_in.empty() ? "" : " *"),
                                 op.work,
                                 std::to_string(op.launches),
                                 fmt::format("{:.1f}", in_microseconds(op.predicted) / op.launches),
                                 fmt::format("{:.1f}", in_microseconds(op.measured) / op.launches),
                                 relative(op.predicted, op.measured)};
    for (std::size_t column = 0; column < columns.size(); ++column)
      columns[column].cells.push_back(cells[column]);
  }
  std::string text = "\n" + table_text(columns, rows);
  text += fmt::format(
      "  each launch on average, by itself or beside its pair's exchange; predicted by calibration "
      "'{}'; {} of {} ops\n",
      measured.kernels->calibration, rows, comparison.ops.size());
  for (const std::string& each : stand_ins) text += "  * timed instead: " + each + "\n";
  return text;
}

std::string path_table(const Program& program, const TimelineComparison& comparison) {
  std::string text = fmt::format("\n{:<{}}{:>24}{:>14}\n", "critical path, ms",
                                 name_width(comparison), "predicted", "measured");
  const PathComparison& predicted = comparison.predicted_path;
  const PathComparison& measured = comparison.measured_path;
  const auto row = [&](std::string_view name, Seconds one, Seconds other) {
    text += fmt::format("{:<{}}{:>24}{:>14}\n", name, name_width(comparison), milliseconds(one),
                        milliseconds(other));
  };
  row("computing", predicted.compute, measured.compute);
  row("communicating", predicted.communication, measured.communication);
  row("waiting for a core, a wake-up", predicted.waiting, measured.waiting);
  text += fmt::format("{:<{}}{:>24}{:>14}\n", "instructions", name_width(comparison),
                      predicted.instructions, measured.instructions);
  text += fmt::format("{:<{}}{:>24}{:>14}\n", "ranks", name_width(comparison), predicted.ranks,
                      measured.ranks);
  text +=
      fmt::format("{:.0f} % of the measured path's time is of instructions on the predicted one",
                  100 * comparison.path_in_common);
  // What the two paths consist of, the largest first.
  std::map<std::string, std::pair<Seconds, Seconds>> kinds;
  for (const CriticalStep& step : predicted.steps)
    kinds[program.work(program.instructions[step.instruction.index()]).name].first += step.ran;
  for (const CriticalStep& step : measured.steps)
    kinds[program.work(program.instructions[step.instruction.index()]).name].second += step.ran;
  std::vector<std::pair<std::string, std::pair<Seconds, Seconds>>> list(kinds.begin(), kinds.end());
  std::stable_sort(list.begin(), list.end(),
                   [](const auto& a, const auto& b) { return a.second.second > b.second.second; });
  text += "\n";
  constexpr std::size_t kMost = 8;
  for (std::size_t at = 0; at < std::min(kMost, list.size()); ++at)
    row("  " + list[at].first, list[at].second.first, list[at].second.second);
  return text;
}

nlohmann::ordered_json path_json(const PathComparison& path) {
  nlohmann::ordered_json out;
  out["compute_s"] = path.compute.value();
  out["communication_s"] = path.communication.value();
  out["waiting_s"] = path.waiting.value();
  for (const CriticalStep& step : path.steps) out["instructions"].push_back(step.instruction.value);
  return out;
}

}  // namespace

std::string timeline_comparison_text(const Program& program, const TimelineFile& predicted,
                                     const TimelineFile& measured,
                                     const TimelineComparison& comparison) {
  return heading(predicted, measured) + step_table(measured, comparison) + rank_table(comparison) +
         kind_table(comparison) + pair_table(comparison) + op_table(measured, comparison) +
         path_table(program, comparison);
}

std::string timeline_comparison_json(const Program& program, const TimelineFile& measured,
                                     const TimelineComparison& comparison, double wall_s,
                                     double cpu_s) {
  nlohmann::ordered_json out;
  out["format_version"] = "1.0";
  out["program"] = fingerprint(program);
  out["predicted_s"] = comparison.predicted.value();
  out["measured_s"] = comparison.measured.value();
  out["error"] = comparison.error();
  out["worst_wait_error"] = comparison.worst_wait_error();
  if (measured.run) {
    for (Seconds step : measured.run->steps) out["measured_steps_s"].push_back(step.value());
  }
  if (comparison.at_speed) {
    out["machine"] = {{"slower", *comparison.slower},
                      {"predicted_s", comparison.at_speed->value()},
                      {"error", comparison.error_at_speed()}};
  }
  if (comparison.replayed) {
    out["split"] = {{"replayed_s", comparison.replayed->value()},
                    {"op_cost_error", comparison.op_cost_error()},
                    {"residual", comparison.residual()}};
  } else {
    out["split"] = nullptr;
  }
  out["ranks"] = nlohmann::ordered_json::array();
  for (const RankComparison& rank : comparison.ranks) {
    out["ranks"].push_back(
        {{"busy_predicted_s", rank.busy_predicted.value()},
         {"busy_measured_s", rank.busy_measured.value()},
         {"wait_predicted_s", (comparison.predicted - rank.busy_predicted).value()},
         {"wait_measured_s", (comparison.measured - rank.busy_measured).value()},
         {"wait_error", rank.wait_error}});
  }
  out["kinds_by"] = comparison.by_cpu_time ? "cpu_time" : "span";
  out["kinds"] = nlohmann::ordered_json::array();
  for (const KindComparison& kind : comparison.kinds) {
    out["kinds"].push_back({{"name", kind.name},
                            {"instructions", kind.instructions},
                            {"predicted_s", kind.predicted.value()},
                            {"measured_s", kind.measured.value()}});
  }
  if (measured.kernels) {
    out["device"] = measured.kernels->device;
    out["simulated_device"] = measured.kernels->simulated;
    out["pairs"] = nlohmann::ordered_json::array();
    for (const PairComparison& pair : comparison.pairs) {
      out["pairs"].push_back({{"rank", pair.rank.value},
                              {"cell", pair.cell},
                              {"predicted_s", pair.predicted.value()},
                              {"measured_s", pair.measured.value()}});
    }
    out["ops"] = nlohmann::ordered_json::array();
    for (const MeasuredOp& op : comparison.ops) {
      out["ops"].push_back({{"op", op.op},
                            {"work", op.work},
                            {"launches", op.launches},
                            {"predicted_s", op.predicted.value()},
                            {"measured_s", op.measured.value()},
                            {"stand_in", op.stand_in}});
    }
  }
  out["critical_path"] = {{"predicted", path_json(comparison.predicted_path)},
                          {"measured", path_json(comparison.measured_path)},
                          {"in_common", comparison.path_in_common}};
  out["timing"] = {{"wall_s", wall_s}, {"cpu_s", cpu_s}};
  return out.dump(2) + "\n";
}

}  // namespace orrery
