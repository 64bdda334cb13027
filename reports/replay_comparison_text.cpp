#include "reports/replay_comparison_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "core/layout.hpp"
#include "reports/number.hpp"
#include "reports/table.hpp"

namespace orrery {
namespace {

constexpr std::size_t kMostPairs = 8, kMostWorks = 16, kMostOps = 24;
constexpr double kOpsOff = 0.005;  // more is said

std::string milliseconds(Seconds time) {
  return fmt::format("{:.3f}", in_milliseconds(time));
}

// A share of -0.0 % is none.
std::string signed_share(double share) {
  return signed_percent(std::abs(share) < 5e-4 ? 0 : share);
}

std::string error_of(Seconds predicted, Seconds measured) {
  return measured > Seconds{} ? signed_share(predicted / measured - 1) : "-";
}

std::string what(const ReplayRecord& record) {
  return record.pairs == 0 ? fmt::format("the step of rank {}", record.rank.value)
                           : fmt::format("{} co-scheduled pair{} of rank {}", record.pairs,
                                         record.pairs == 1 ? "" : "s", record.rank.value);
}

std::string runs(const std::vector<Seconds>& lengths) {
  const auto [least, most] = std::minmax_element(lengths.begin(), lengths.end());
  return fmt::format("the median of {} of {} to {} ms", lengths.size(), milliseconds(*least),
                     milliseconds(*most));
}

std::string heading(const std::string& source, const ReplayRecord& record) {
  const Plan& plan = record.plan;
  std::string text = fmt::format("Predicted against replayed: {}{}\n\n", what(record),
                                 record.simulated ? " (SIMULATED DEVICE)" : "");
  text += fmt::format("  plan       {}, {}, {}, {} micro-batches of {} x {} tokens on each rank\n",
                      plan.model.name, describe(plan.layout), plan.schedule.family,
                      plan.microbatches(), plan.layout.micro_batch, plan.training.sequence);
  text += fmt::format("  predicted  {}; times of ops by calibration '{}'\n", source,
                      record.calibration);
  text += fmt::format("  replayed   {}\n", record.device);
  if (record.simulated)
    text += "             no GPU took part: nothing in the column 'replayed' was measured\n";
  text += fmt::format("  runs       {}; with all gates open {}\n\n", runs(record.gated_lengths),
                      runs(record.open_lengths));
  return text;
}

// Rows of times with a name.
class TimesTable {
 public:
  explicit TimesTable(std::string title)
      : columns_{{std::move(title), "", true},
                 {"predicted, ms", ""},
                 {"replayed", ""},
                 {"error", ""},
                 {"gates open", ""}} {}
  void row(std::string name, const ReplayTimes& times) {
    row(std::move(name), times, error_of(times.predicted, times.measured));
  }
  void row(std::string name, const ReplayTimes& times, std::string error) {
    cells({std::move(name), milliseconds(times.predicted), milliseconds(times.measured),
           std::move(error), milliseconds(times.open)});
  }
  // A time that others have of the same, beside which the replay stands.
  void reference(std::string name, Seconds time, Seconds replayed) {
    cells({std::move(name), milliseconds(time), "", error_of(time, replayed), ""});
  }
  std::string text() const { return table_text(columns_, columns_[0].cells.size()); }

 private:
  void cells(std::initializer_list<std::string> row) {
    std::size_t column = 0;
    for (const std::string& cell : row) columns_[column++].cells.push_back(cell);
  }
  std::vector<Column> columns_;
};

ReplayTimes waiting(const ReplayComparison& comparison) {
  const ReplayTimes& all = comparison.all;
  const ReplayTimes& computing = comparison.computing;
  return {all.predicted - computing.predicted, all.measured - computing.measured,
          all.open - computing.open};
}

// Whether all pairs are of four MoE layers and nothing else on either side.
bool of_four_layers(const std::vector<ReplayedPair>& pairs) {
  return !pairs.empty() && std::all_of(pairs.begin(), pairs.end(), [](const ReplayedPair& pair) {
    return pair.only_moe && pair.forward_moe == 4 && pair.backward_moe == 4;
  });
}

ReplayTimes mean(const std::vector<ReplayedPair>& pairs) {
  ReplayTimes sum;
  for (const ReplayedPair& pair : pairs) {
    sum.predicted += pair.times.predicted;
    sum.measured += pair.times.measured;
    sum.open += pair.times.open;
  }
  const auto count = static_cast<double>(pairs.size());
  return {sum.predicted / count, sum.measured / count, sum.open / count};
}

std::string totals(const ReplayComparison& comparison, const ReplayRecord& record,
                   const std::optional<KeptPair>& kept) {
  TimesTable table("");
  table.row(record.pairs == 0 ? "step" : "all pairs", comparison.all);
  table.row("computing", comparison.computing);
  const ReplayTimes idle = waiting(comparison);
  const Seconds off = idle.predicted - idle.measured;
  table.row("not computing", idle, signed_share(off / comparison.all.measured) + " of all");
  const std::vector<ReplayedPair>& pairs = comparison.pairs;
  for (std::size_t at = 0; at < std::min(kMostPairs, pairs.size()); ++at)
    table.row(fmt::format("pair, cell {}", pairs[at].cell), pairs[at].times);
  if (!pairs.empty()) {
    const ReplayTimes each = mean(pairs);
    table.row(fmt::format("mean of {} pair{}", pairs.size(), pairs.size() == 1 ? "" : "s"), each);
    if (kept && of_four_layers(pairs)) {
      table.reference("  predicted for an H200, kept", kept->predicted, each.measured);
      table.reference("  published for H800", kept->published, each.measured);
    }
  }
  return table.text();
}

std::string works(const ReplayComparison& comparison) {
  TimesTable table("kind of work, sum of spans");
  ReplayTimes rest;
  for (std::size_t at = 0; at < comparison.works.size(); ++at) {
    const ReplayedWork& work = comparison.works[at];
    if (at < kMostWorks) {
      table.row(fmt::format("{} x {}", work.instructions, work.name), work.times);
      continue;
    }
    rest.predicted += work.times.predicted;
    rest.measured += work.times.measured;
    rest.open += work.times.open;
  }
  if (comparison.works.size() > kMostWorks)
    table.row(fmt::format("{} other kinds", comparison.works.size() - kMostWorks), rest);
  return table.text();
}

std::string ops(const ReplayComparison& comparison, const ReplayRecord& record) {
  std::vector<Column> columns = {{"op", "", true},      {"of", "", true}, {"launches", ""},
                                 {"predicted, us", ""}, {"replayed", ""}, {"error", ""}};
  MeasuredOp rest;
  const auto row = [&](const std::string& name, const MeasuredOp& op) {
    const std::string cells[] = {name,
                                 op.work,
                                 std::to_string(op.launches),
                                 fmt::format("{:.1f}", in_microseconds(op.predicted) / op.launches),
                                 fmt::format("{:.1f}", in_microseconds(op.measured) / op.launches),
                                 error_of(op.predicted, op.measured)};
    for (std::size_t column = 0; column < columns.size(); ++column)
      columns[column].cells.push_back(cells[column]);
  };
  std::set<std::string> stand_ins;
  Seconds stood_in;
  for (std::size_t at = 0; at < comparison.ops.size(); ++at) {
    const MeasuredOp& op = comparison.ops[at];
    if (!op.stand_in.empty()) {
      stand_ins.insert(op.stand_in);
      stood_in += op.measured;
    }
    if (at < kMostOps) {
      row(op.op + (op.stand_in.empty() ? "" : " *"), op);
      continue;
    }
    rest.launches += op.launches;
    rest.predicted += op.predicted;
    rest.measured += op.measured;
  }
  if (rest.launches > 0) row(fmt::format("{} other ops", comparison.ops.size() - kMostOps), rest);
  std::string text = table_text(columns, columns[0].cells.size());
  text += "  each launch on average, gates as predicted, with a mark behind every op\n";
  for (const std::string& each : stand_ins)
    text += fmt::format("  * {} has no kernel of its own here: {}\n", "an op", each);
  if (!stand_ins.empty()) {
    text += fmt::format("    {} of {} ms of all ops\n", milliseconds(stood_in),
                        milliseconds(comparison.computing.measured));
  }
  if (std::abs(comparison.ops_off) > kOpsOff) {
    text += fmt::format(
        "  note: calibration '{}' has {} of the time that the prediction has for these kernels\n"
        "        in all: it was made with another one, or for uneven loads\n",
        record.calibration, percent(1 + comparison.ops_off));
  }
  return text;
}

nlohmann::ordered_json times_json(const ReplayTimes& times) {
  return {{"predicted_s", times.predicted.value()},
          {"replayed_s", times.measured.value()},
          {"gates_open_s", times.open.value()}};
}

}  // namespace

std::string replay_comparison_text(const std::string& source, const ReplayRecord& record,
                                   const ReplayComparison& comparison,
                                   const std::optional<KeptPair>& kept) {
  return heading(source, record) + totals(comparison, record, kept) + "\n" + works(comparison) +
         "\n" + ops(comparison, record);
}

std::string replay_comparison_json(const ReplayRecord& record, const ReplayComparison& comparison,
                                   const std::optional<KeptPair>& kept, double wall_s,
                                   double cpu_s) {
  nlohmann::ordered_json out;
  out["format_version"] = "1.0";
  out["kind"] = "replay-comparison";
  out["program"] = record.fingerprint;
  out["device"] = record.device;
  out["simulated_device"] = record.simulated;
  out["calibration"] = record.calibration;
  out["rank"] = record.rank.value;
  out["all"] = times_json(comparison.all);
  out["error"] = comparison.all.error();
  out["computing"] = times_json(comparison.computing);
  out["pairs"] = nlohmann::ordered_json::array();
  for (const ReplayedPair& pair : comparison.pairs) {
    nlohmann::ordered_json entry = times_json(pair.times);
    entry["cell"] = pair.cell;
    out["pairs"].push_back(std::move(entry));
  }
  if (kept && of_four_layers(comparison.pairs)) {
    out["pair_published_h800_s"] = kept->published.value();
    out["pair_predicted_h200_s"] = kept->predicted.value();
  }
  out["works"] = nlohmann::ordered_json::array();
  for (const ReplayedWork& work : comparison.works) {
    nlohmann::ordered_json entry = times_json(work.times);
    entry["name"] = work.name;
    entry["instructions"] = work.instructions;
    out["works"].push_back(std::move(entry));
  }
  out["ops"] = nlohmann::ordered_json::array();
  for (const MeasuredOp& op : comparison.ops) {
    out["ops"].push_back({{"op", op.op},
                          {"work", op.work},
                          {"launches", op.launches},
                          {"predicted_s", op.predicted.value()},
                          {"replayed_s", op.measured.value()},
                          {"stand_in", op.stand_in}});
  }
  out["timing"] = {{"wall_s", wall_s}, {"cpu_s", cpu_s}};
  return out.dump(2) + "\n";
}

}  // namespace orrery
