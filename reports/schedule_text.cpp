#include "reports/schedule_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "planner/schedules/families.hpp"
#include "reports/number.hpp"

namespace orrery {
namespace {

using Json = nlohmann::ordered_json;

// "102", "97.4", "0.333333": what the unit of the times is, nobody knows.
std::string figure(double value) {
  return fmt::format("{:.7g}", value);
}

// "1 rank", "8 ranks", "2 micro-batches".
std::string counted(int number, std::string_view noun) {
  const char* ending = number == 1 ? "" : noun.ends_with("ch") ? "es" : "s";
  return fmt::format("{} {}{}", number, noun, ending);
}

double share_of_chunk(const Schedule& schedule) {
  return 1.0 / chunks_of_direction(schedule);
}

std::string stages_of(const Schedule& schedule, std::size_t rank) {
  std::vector<std::string> names;
  for (const ChunkPlace& place : schedule.chunks[rank])
    names.push_back(std::to_string(place.stage.value) + (place.direction == 1 ? "'" : ""));
  return fmt::format("{}", fmt::join(names, " "));
}

int most(const std::vector<int>& values) {
  return *std::max_element(values.begin(), values.end());
}

// "9 on every rank", "1 (rank 7) to 8 (rank 0)".
std::string range_of(const std::vector<int>& peaks, double share) {
  const auto low = std::min_element(peaks.begin(), peaks.end());
  const auto high = std::max_element(peaks.begin(), peaks.end());
  if (*low == *high) return fmt::format("{} on every rank", figure(*high * share));
  return fmt::format("{} (rank {}) to {} (rank {})", figure(*low * share), low - peaks.begin(),
                     figure(*high * share), high - peaks.begin());
}

std::string parameters(const Schedule& schedule) {
  return schedule.directions == 2 ? "2" : "1";
}

std::map<CellKind, int> count_cells(const std::vector<Cell>& cells) {
  std::map<CellKind, int> count;
  for (const Cell& cell : cells) ++count[cell.kind];
  return count;
}

std::string family_of(const ScheduleReport& report) {
  const int chunks = chunks_of_direction(report.schedule);
  const std::string& name = report.schedule.family;
  return name.starts_with("interleaved") ? fmt::format("{} ({} chunks)", name, chunks) : name;
}

std::string messages_text(const ScheduleReport& report) {
  if (report.rendezvous) return "rendezvous: both sides wait for each other";
  std::string text = "eager: a send costs its rank no time";
  if (report.would_deadlock)
    text += *report.would_deadlock ? "; as rendezvous they would deadlock (--p2p rendezvous)"
                                   : "; as rendezvous they would not deadlock";
  return text;
}

std::string bound_text(const ScheduleReport& report) {
  const double share = share_of_chunk(report.schedule);
  std::string text = fmt::format(
      "Lower bound  {} for these stages{} and activations of at most {}; what binds: {} (rank "
      "{})\n",
      figure(report.bound.makespan), report.schedule.directions == 2 ? " in both directions" : "",
      range_of(report.limits, share), to_string(report.bound.binding), report.bound.rank);
  if (report.gap() <= 1e-9) {
    text += "Gap          none: no schedule of these stages and activations is shorter\n";
  } else {
    text += fmt::format("Gap          {}: the shortest may lie anywhere between\n",
                        percent(report.gap()));
  }
  return text;
}

Json report_json(const ScheduleReport& report) {
  const double share = share_of_chunk(report.schedule);
  Json peaks = Json::array(), windows = Json::array(), busy = Json::array();
  for (std::size_t rank = 0; rank < report.peaks.size(); ++rank) {
    peaks.push_back(report.peaks[rank] * share);
    windows.push_back(report.timing.windows[rank].value());
    busy.push_back(report.timing.busy[rank].value());
  }
  Json out = {{"family", report.schedule.family},
              {"pp", report.schedule.pp()},
              {"microbatches", report.schedule.microbatches},
              {"directions", report.schedule.directions},
              {"chunks", chunks_of_direction(report.schedule)},
              {"p2p", report.rendezvous ? "rendezvous" : "eager"},
              {"makespan", report.timing.makespan.value()},
              {"window", report.timing.window.value()},
              {"period", report.timing.period.value()},
              {"bubble_fraction", report.timing.bubble_fraction},
              {"window_bubble", report.timing.window_bubble},
              {"peak_activations", std::move(peaks)},
              {"parameters", report.schedule.directions},
              {"busy", std::move(busy)},
              {"windows", std::move(windows)},
              {"lower_bound", report.bound.makespan},
              {"binding", std::string(to_string(report.bound.binding))},
              {"binding_rank", report.bound.rank},
              {"gap", report.gap()}};
  if (report.would_deadlock) out["rendezvous_deadlocks"] = *report.would_deadlock;
  if (report.search) {
    out["search"] = {{"evaluations", report.search->evaluations},
                     {"nodes", report.search->nodes},
                     {"from", report.search->start},
                     {"best_start", report.search->best_start},
                     {"proven", report.search->proven()}};
  }
  return out;
}

}  // namespace

std::string schedule_text(const ScheduleReport& report) {
  const Schedule& schedule = report.schedule;
  const double share = share_of_chunk(schedule);
  std::string text =
      fmt::format("{}: {}, {}{}, {}{}\n\n", family_of(report), counted(schedule.pp(), "rank"),
                  counted(schedule.microbatches, "micro-batch"),
                  schedule.directions == 2 ? ", half of them from each end" : "",
                  counted(schedule.stages(), "stage"),
                  schedule.directions == 2 ? " in both directions: parameters twice" : "");
  text += fmt::format("Makespan     {}, of which a rank waits {} on average ({})\n",
                      figure(report.timing.makespan.value()),
                      figure(report.timing.bubble_fraction * report.timing.makespan.value()),
                      percent(report.timing.bubble_fraction));
  text += fmt::format("Window       {} from a rank's first cell to its last ({} waiting)\n",
                      figure(report.timing.window.value()), percent(report.timing.window_bubble));
  text += fmt::format("Period       {} a micro-batch in the middle of the step\n",
                      figure(report.timing.period.value()));
  text += fmt::format("Activations  {}, in shares of 1/{} of the model\n",
                      range_of(report.peaks, share), schedule.pp());
  text += fmt::format("Messages     {}\n", messages_text(report));
  if (report.search) {
    const ScheduleSearchResult& search = *report.search;
    text += fmt::format("Search       {} orders timed, from {}; ",
                        grouped(static_cast<double>(search.evaluations)), search.start);
    if (search.best_start > 0) {
      text += fmt::format("the best family that fits takes {} ({})\n", figure(search.best_start),
                          signed_percent(search.makespan / search.best_start - 1));
    } else {
      text += "no family fits the limit\n";
    }
  }
  text += bound_text(report) + "\n";

  text +=
      fmt::format("  {:>4}  {:<11}{:>6}{:>6}{:>6}{:>6}{:>6}{:>6}{:>12}{:>12}{:>12}{:>8}\n", "rank",
                  "stages", "F", "I", "W", "B", "F&B", "F&I", "busy", "waits", "window", "peak");
  for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    auto count = count_cells(schedule.ranks[rank]);
    const Seconds busy = report.timing.busy[rank];
    text += fmt::format(
        "  {:>4}  {:<11}{:>6}{:>6}{:>6}{:>6}{:>6}{:>6}{:>12}{:>12}{:>12}{:>8}\n", rank,
        stages_of(schedule, rank), count[CellKind::kF], count[CellKind::kI], count[CellKind::kW],
        count[CellKind::kB], count[CellKind::kFB], count[CellKind::kFI], figure(busy.value()),
        figure((report.timing.makespan - busy).value()),
        figure(report.timing.windows[rank].value()), figure(report.peaks[rank] * share));
  }
  text +=
      "  cells: F forward, I input gradient, W weight gradient, B both, F&B F&I a forward "
      "co-scheduled with them";
  if (schedule.directions == 2)
    text += ";\n  ' a stage of the direction that enters at the last rank";
  return text + "\n";
}

std::string schedule_json(const ScheduleReport& report, const RunTiming& timing) {
  Json out = {{"format_version", "1.0"}};
  out.update(report_json(report));
  out["timing"] = {{"wall_s", timing.wall_s}, {"cpu_s", timing.cpu_s}};
  return out.dump(2) + "\n";
}

std::string schedule_comparison_text(
    const std::vector<ScheduleReport>& reports,
    const std::vector<std::pair<std::string, std::string>>& skipped) {
  std::string text = fmt::format(
      "  {:<32}{:>12}{:>9}{:>12}{:>10}{:>9}{:>13}{:>12}{:>12}{:>10}  {}\n", "schedule", "makespan",
      "waits", "window", "period", "peak", "parameters", "bound", "gap", "", "binding");
  double best = 0;
  for (const ScheduleReport& report : reports) {
    const double makespan = report.timing.makespan.value();
    if (best == 0 || makespan < best) best = makespan;
  }
  for (const ScheduleReport& report : reports) {
    const double makespan = report.timing.makespan.value();
    std::string name = family_of(report);
    if (report.search)
      name =
          fmt::format("searched ({})", report.schedule.directions == 2 ? "both directions"
                                       : chunks_of_direction(report.schedule) > 1 ? "several chunks"
                                                                                  : "one chunk");
    text += fmt::format("  {:<32}{:>12}{:>9}{:>12}{:>10}{:>9}{:>13}{:>12}{:>12}{:>10}  {}\n", name,
                        figure(makespan), percent(report.timing.bubble_fraction),
                        figure(report.timing.window.value()), figure(report.timing.period.value()),
                        figure(most(report.peaks) * share_of_chunk(report.schedule)),
                        parameters(report.schedule), figure(report.bound.makespan),
                        report.gap() <= 1e-9 ? "optimal" : percent(report.gap()),
                        makespan == best ? "shortest" : "", to_string(report.bound.binding));
  }
  text +=
      "\n  peak: activations of the fullest rank, parameters: of every rank, both in shares of "
      "1/pp\n"
      "  bound: no schedule of the same stages that holds as many activations is shorter; what "
      "binds it\n";
  if (!skipped.empty()) text += "\nLeft out:\n";
  for (const auto& [name, why] : skipped) text += fmt::format("  {}\n", why);
  return text;
}

std::string schedule_comparison_json(
    const std::vector<ScheduleReport>& reports,
    const std::vector<std::pair<std::string, std::string>>& skipped, const RunTiming& timing) {
  Json rows = Json::array();
  for (const ScheduleReport& report : reports) rows.push_back(report_json(report));
  Json left_out = Json::object();
  for (const auto& [name, why] : skipped) left_out[name] = why;
  const Json out = {{"format_version", "1.0"},
                    {"schedules", std::move(rows)},
                    {"left_out", std::move(left_out)},
                    {"timing", {{"wall_s", timing.wall_s}, {"cpu_s", timing.cpu_s}}}};
  return out.dump(2) + "\n";
}

std::string critical_path_text(const ScheduleReport& report) {
  const CellGraph graph(report.schedule);
  const auto why = [](const CriticalCell& cell) -> std::string {
    switch (cell.why) {
      case WaitKind::kForward: return "its activation";
      case WaitKind::kGradient: return "its gradient";
      default: return "the cell before it";
    }
  };
  std::string text = fmt::format("Critical path\n  {:>12}{:>12}  {:>4} {:>5}  {:<58}{}\n", "start",
                                 "end", "rank", "cell", "", "waited for");
  bool first = true;
  for (const CriticalCell& cell :
       critical_cells(report.schedule, graph, report.times, report.timing)) {
    const auto rank = cell.at.rank.index();
    const auto index = static_cast<std::size_t>(cell.at.cell);
    const Span& span = report.timing.cells[rank][index];
    text += fmt::format("  {:>12}{:>12}  {:>4} {:>5}  {:<58}{}{}\n", figure(span.start.value()),
                        figure(span.end.value()), rank, index,
                        describe(report.schedule, cell.at.rank, report.schedule.ranks[rank][index]),
                        first ? "" : why(cell),
                        cell.latency > Seconds{}
                            ? fmt::format(", {} on the way", figure(cell.latency.value()))
                            : "");
    first = false;
  }
  return text;
}

std::string schedule_chart(const ScheduleReport& report, int width, bool colours) {
  // A letter and a colour for each kind; capitals where the (forward) chunk is not the first.
  struct Mark {
    char first, other;
    const char* colour;
  };
  const auto mark = [](CellKind kind) -> Mark {
    switch (kind) {
      case CellKind::kF: return {'f', 'F', "\033[44;97m"};
      case CellKind::kB: return {'b', 'B', "\033[42;30m"};
      case CellKind::kI: return {'i', 'I', "\033[46;30m"};
      case CellKind::kW: return {'w', 'W', "\033[43;30m"};
      case CellKind::kFB: return {'x', 'X', "\033[45;97m"};
      case CellKind::kFI: return {'y', 'Y', "\033[45;30m"};
    }
    return {'?', '?', ""};
  };
  const double column = report.timing.makespan.value() / width;
  std::string text;
  for (std::size_t rank = 0; rank < report.schedule.ranks.size(); ++rank) {
    text += fmt::format("  {:>4} ", rank);
    const auto& spans = report.timing.cells[rank];
    std::size_t cell = 0;
    const char* colour = "";
    for (int index = 0; index < width; ++index) {
      // What runs in the middle of the column.
      const double when = (index + 0.5) * column;
      while (cell < spans.size() && spans[cell].end.value() <= when) ++cell;
      const bool runs = cell < spans.size() && spans[cell].start.value() <= when;
      char letter = '.';
      const char* wanted = "";
      if (runs) {
        const Cell& own = report.schedule.ranks[rank][cell];
        const Mark its = mark(own.kind);
        const int chunk = own.has_forward() ? own.forward.chunk.value : own.backward.chunk.value;
        letter = chunk == 0 ? its.first : its.other;
        wanted = its.colour;
      }
      if (colours && wanted != colour) text += wanted[0] == '\0' ? "\033[0m" : wanted;
      colour = wanted;
      text += letter;
    }
    if (colours) text += "\033[0m";
    text += "\n";
  }
  const bool chunks = report.schedule.chunks.front().size() > 1;
  text += fmt::format(
      "  a column is {} long; f forward, i input gradient, w weight gradient, b both, "
      "x F&B, y F&I, . waits{}\n",
      figure(column), chunks ? "; capitals: of a rank's second or later chunk" : "");
  return text;
}

}  // namespace orrery
