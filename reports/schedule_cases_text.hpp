#pragma once
// The schedule search next to what is published, as Markdown: reports/schedules.md.
#include <string>
#include <vector>

#include "planner/schedules/published_cases.hpp"

namespace orrery {

struct ScheduleCaseRow {
  ScheduleCase of;
  ScheduleCaseResult result;
};

std::string schedule_cases_text(const std::vector<ScheduleCaseRow>& rows);
// Whether every figure that is published is met.
bool all_met(const std::vector<ScheduleCaseRow>& rows);

}  // namespace orrery
