#pragma once
// The schedule search next to what is published, as Markdown: reports/schedules.md.
#include <optional>
#include <string>
#include <vector>

#include "planner/plan_schedule_search.hpp"
#include "planner/schedules/published_cases.hpp"

namespace orrery {

struct ScheduleCaseRow {
  ScheduleCase of;
  ScheduleCaseResult result;
};

// A plan with one stage map: what its family's schedule takes by its cell times, what no schedule
// of that map can beat, and what a search came to.
struct PlanScheduleRow {
  std::string stage_map;
  std::string held;  // "17" or "what fits"
  double family = 0, bound = 0;
  std::optional<PlanScheduleSearch> search;
};

struct PlanScheduleRows {
  std::string title;  // "DeepSeek-V3 on 2048 H800, 16 ranks x 120 micro-batches"
  std::vector<PlanScheduleRow> rows;
  int maps = 0;            // stage maps looked at
  double least_bound = 0;  // over all of them, holding what the family's schedule holds
};

// `effort` as it was asked for; 0: the default.
std::string schedule_cases_text(const std::vector<ScheduleCaseRow>& rows,
                                const PlanScheduleRows& plan, long effort);
// Whether every figure that is published is met.
bool all_met(const std::vector<ScheduleCaseRow>& rows);

}  // namespace orrery
