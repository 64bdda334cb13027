#pragma once
// A schedule for people and for scripts: what it takes and holds, how far from optimal it is, and a
// Gantt chart for the terminal.
#include <optional>
#include <string>
#include <vector>

#include "core/schedule.hpp"
#include "planner/schedules/search.hpp"
#include "planner/schedules/timing.hpp"
#include "reports/simulate_json.hpp"

namespace orrery {

// All that is known of one schedule.
struct ScheduleReport {
  Schedule schedule;
  CellTimes times;
  ScheduleTiming timing;
  bool rendezvous = false;
  std::vector<int> peaks;   // [rank] chunk activations
  std::vector<int> limits;  // [rank] that the bound holds for
  bool limits_given = false;
  // Of eager messages: whether sends that wait for their receiver would deadlock; nothing where
  // outputs leave before the end of a cell.
  std::optional<bool> would_deadlock;
  LowerBound bound;
  std::optional<ScheduleSearchResult> search;
  double gap() const { return gap_between(timing.makespan.value(), bound.makespan); }
};

std::string schedule_text(const ScheduleReport& report);
std::string schedule_json(const ScheduleReport& report, const RunTiming& timing);

// A row for each of the reports, ordered as they are. `skipped`: families with why they are not
// there.
std::string schedule_comparison_text(
    const std::vector<ScheduleReport>& reports,
    const std::vector<std::pair<std::string, std::string>>& skipped);
std::string schedule_comparison_json(
    const std::vector<ScheduleReport>& reports,
    const std::vector<std::pair<std::string, std::string>>& skipped, const RunTiming& timing);

// The chain of cells that takes the makespan, one a line, with what each waited for. For eager
// messages.
std::string critical_path_text(const ScheduleReport& report);

// One line a rank, time from left to right over `width` columns; with colours for a terminal.
std::string schedule_chart(const ScheduleReport& report, int width, bool colours);

}  // namespace orrery
