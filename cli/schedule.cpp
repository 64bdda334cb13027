#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "cli/schedule_options.hpp"
#include "core/diagnostic.hpp"
#include "core/error.hpp"
#include "core/schedule_json.hpp"
#include "planner/reject_input.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/rendezvous.hpp"
#include "planner/schedules/search.hpp"
#include "reports/schedule_text.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery::cli {
namespace {

// Throws where the checker finds something: all of it, as bad input would be told.
void check_faults(const std::vector<ScheduleFault>& faults, const std::string& what) {
  if (faults.empty()) return;
  constexpr std::size_t kShown = 10;
  Diagnostics diagnostics;
  for (std::size_t fault = 0; fault < std::min(faults.size(), kShown); ++fault)
    diagnostics.error({}, what + ": " + faults[fault].reason);
  if (faults.size() > kShown)
    diagnostics.error({}, fmt::format("{}: {} more faults", what, faults.size() - kShown));
  throw ScheduleFaults(diagnostics.render());
}

// Everything about a valid schedule.
ScheduleReport report_on(const ScheduleOptions& options, Schedule schedule, const CellTimes& times,
                         std::vector<int> limits) {
  ScheduleReport report;
  report.rendezvous = options.p2p == "rendezvous";
  report.peaks = peak_activations(schedule);
  report.limits_given = !limits.empty();
  const int peak = *std::max_element(report.peaks.begin(), report.peaks.end());
  report.limits =
      limits.empty() ? std::vector<int>(schedule.ranks.size(), peak) : std::move(limits);
  if (report.rendezvous) {
    RendezvousTiming met = time_rendezvous(schedule, p2p_order(schedule), times);
    if (met.deadlock) throw ScheduleFaults("error: " + *met.deadlock);
    report.timing = std::move(met.timing);
  } else {
    report.timing = time_schedule(schedule, times);
    if (!times.has_offsets()) {
      report.would_deadlock =
          time_rendezvous(schedule, p2p_order(schedule), times).deadlock.has_value();
    }
  }
  report.bound = lower_bound(compact_problem(schedule, times, report.limits));
  report.schedule = std::move(schedule);
  report.times = times;
  return report;
}

SearchProgress progress_bar() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](long spent, long of, double best) {
    std::fprintf(stderr, "\r\033[K%3.0f %% of the effort, shortest so far %.7g",
                 100.0 * static_cast<double>(spent) / static_cast<double>(of), best);
    if (spent >= of) std::fprintf(stderr, "\r\033[K");
  };
}

// Those given; else what the fullest rank of the first starting point holds.
std::vector<int> search_limits(const Schedule& start, const std::vector<int>& limits) {
  if (!limits.empty()) return limits;
  const std::vector<int> peaks = peak_activations(start);
  return std::vector<int>(peaks.size(), *std::max_element(peaks.begin(), peaks.end()));
}

ScheduleReport search(const ScheduleOptions& options, std::vector<Schedule> starts,
                      const CellTimes& times, const std::vector<int>& limits, long effort) {
  ScheduleSearchRequest request;
  request.times = times;
  request.limits = search_limits(starts.front(), limits);
  request.starts = std::move(starts);
  request.effort = effort;
  request.seed = options.seed;
  ScheduleSearchResult result = search_schedule(request, progress_bar());
  if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\033[K");
  if (result.schedule.ranks.empty()) {
    throw ScheduleFaults(
        "error: no schedule was found that holds so few activations\n   = raise the limit");
  }
  ScheduleReport report = report_on(options, result.schedule, times, request.limits);
  report.limits_given = !limits.empty();
  report.bound = result.bound;
  report.search = std::move(result);
  return report;
}

int chart_width() {
  constexpr int kDefault = 120, kMargin = 8, kLeast = 40;
  winsize size{};
  if (isatty(STDOUT_FILENO) == 0 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 ||
      size.ws_col == 0)
    return kDefault;
  return std::max(kLeast, static_cast<int>(size.ws_col) - kMargin);
}

std::string chart(const ScheduleReport& report) {
  return "\n" + schedule_chart(report, chart_width(), isatty(STDOUT_FILENO) != 0);
}

int compare(const ScheduleOptions& options, const Stopwatch& stopwatch) {
  std::vector<ScheduleReport> reports;
  std::vector<std::pair<std::string, std::string>> left_out;
  const ScheduleRequest request = request_of(options);
  for (const ScheduleFamily& family : schedule_families()) {
    const std::string name(family.name);
    if (const auto why = family.why_not(request)) {
      left_out.emplace_back(name, *why);
      continue;
    }
    Schedule schedule = family.generate(request);
    try {
      const std::vector<int> limits = given_limits(options, schedule, std::nullopt);
      if (const auto faults =
              limits.empty() ? check_schedule(schedule) : check_schedule(schedule, limits);
          !faults.empty()) {
        left_out.emplace_back(name, fmt::format("{}: {}", name, faults.front().reason));
        continue;
      }
      const CellTimes times = times_for(options, schedule);
      reports.push_back(report_on(options, std::move(schedule), times, limits));
    } catch (const ScheduleFaults& faults) {
      left_out.emplace_back(name, fmt::format("{}: {}", name, faults.reason()));
    }
  }
  if (options.p2p == "eager") {
    // One placement after the other; its first family gives the limit where none is given.
    for (const char* kind : {"zb-h1", "zb-v", "dualpipe"}) {
      if (schedule_family(kind).why_not(request)) continue;
      std::vector<Schedule> starts = schedules_on_placement_of(kind, request);
      const CellTimes times = times_for(options, starts.front());
      constexpr long kShare = 20;  // of the default: a few seconds in all
      const long effort =
          options.effort > 0 ? options.effort : default_effort(starts.front()) / kShare;
      try {
        const std::vector<int> limits = given_limits(options, starts.front(), std::nullopt);
        reports.push_back(search(options, std::move(starts), times, limits, effort));
      } catch (const ScheduleFaults& faults) {
        left_out.emplace_back(
            "searched", fmt::format("searched, on the stages of {}: {}", kind, faults.reason()));
      }
    }
  }
  const RunTiming timing{stopwatch.wall_s(), stopwatch.cpu_s()};
  const std::string text = options.json ? schedule_comparison_json(reports, left_out, timing)
                                        : schedule_comparison_text(reports, left_out);
  std::fputs(text.c_str(), stdout);
  return kYes;
}

int schedule(const ScheduleOptions& options) {
  const Stopwatch stopwatch;
  check_options(options);
  check_outputs({options.output}, {options.file, options.times_file});
  if (!options.compare.empty()) return compare(options, stopwatch);
  std::vector<Schedule> starts;
  if (!options.file.empty()) {
    starts.push_back(read_schedule(options.file));
    check_faults(check_schedule(starts.front()), options.file);
  } else {
    starts.push_back(make_schedule(options.kind, request_of(options)));
  }
  std::optional<std::vector<double>> limits_of_file;
  const CellTimes times = times_for(options, starts.front(), &limits_of_file);
  if (options.p2p == "rendezvous" && times.has_offsets())
    reject_input("offsets inside pairs are for eager messages", "leave --p2p rendezvous out");
  const std::vector<int> limits = given_limits(options, starts.front(), limits_of_file);
  const ScheduleRequest request = request_for(options, starts.front(), times, limits_of_file);
  if (options.file.empty() && !options.times_file.empty())
    starts.front() = make_schedule(options.kind, request);
  ScheduleReport report;
  if (options.search) {
    if (options.file.empty())
      starts = search_starts(options.kind, request, times, search_limits(starts.front(), limits));
    report = search(options, std::move(starts), times, limits, options.effort);
  } else {
    if (!limits.empty())
      check_faults(check_schedule(starts.front(), limits), starts.front().family);
    report = report_on(options, std::move(starts.front()), times, limits);
  }
  if (!options.output.empty()) write_output(options.output, to_json(report.schedule));
  std::string text = options.json ? schedule_json(report, {stopwatch.wall_s(), stopwatch.cpu_s()})
                                  : schedule_text(report);
  if (options.draw && !options.json) text += chart(report);
  if (options.critical_path && !options.json) text += "\n" + critical_path_text(report);
  std::fputs(text.c_str(), answer_stream({options.output}));
  return kYes;
}

}  // namespace

Command add_schedule(CLI::App& app) {
  auto options = std::make_shared<ScheduleOptions>();
  CLI::App* command = app.add_subcommand(
      "schedule", "Generate, check, time, draw, compare or search pipeline schedules");
  std::string families;
  for (const ScheduleFamily& family : schedule_families())
    families += " " + std::string(family.name);
  command->add_option("--kind", options->kind, "Schedule family:" + families);
  command->add_option("--file", options->file, "A schedule (or plan) file instead");
  command->add_option("--pp", options->pp, "Pipeline ranks")->check(CLI::Range(1, 1024));
  command->add_option("--microbatches", options->microbatches, "Over both directions")
      ->check(CLI::Range(1, 100000));
  command->add_option("--chunks", options->chunks, "Chunks a rank, for interleaved kinds")
      ->check(CLI::Range(1, 64));
  CLI::Option* const times =
      command
          ->add_option("--times", options->times,
                       "Of a rank's whole share, in any unit: F, I, W, and if wanted FB (a "
                       "co-scheduled pair) and comm (a message)")
          ->capture_default_str();
  command
      ->add_option("--times-file", options->times_file,
                   "Times of every stage and limits of every rank (JSON) instead")
      ->excludes(times);
  command->add_option("--p2p", options->p2p, "How messages go")
      ->capture_default_str()
      ->check(CLI::IsMember({"eager", "rendezvous"}));
  command
      ->add_option("--memory-limit", options->memory_limit,
                   "Activations that a rank may hold, in shares of 1/pp of the model")
      ->check(CLI::Range(0.01, 1e6));
  command->add_flag("--search", options->search,
                    "Search a shorter one with the same stages and limit");
  command->add_option("--effort", options->effort, "Orders to time (default: about 30 s)")
      ->check(CLI::Range(1L, 1000000000000L));
  command->add_option("--seed", options->seed, "Of the search")->capture_default_str();
  command
      ->add_option("--compare", options->compare, "all: every family and searched ones in a table")
      ->check(CLI::IsMember({"all"}));
  command->add_option("-o,--output", options->output, "Write the schedule; - is standard output");
  command->add_flag("--draw", options->draw, "Draw it");
  command->add_flag("--critical-path", options->critical_path,
                    "Print the chain of cells that takes the makespan");
  command->add_flag("--json", options->json, "Print one JSON object");
  return [options] {
    try {
      return schedule(*options);
    } catch (const ScheduleFaults& faults) {
      std::fprintf(stderr, "%s\n", faults.what());
      return kNo;
    }
  };
}

}  // namespace orrery::cli
