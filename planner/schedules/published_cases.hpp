#pragma once
// Cases with a figure that somebody reached, or that nobody has: what the schedule search is
// measured against, and a suite of uneven stages of our own.
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planner/schedules/search.hpp"

namespace orrery {

struct ScheduleCase {
  std::string_view group;  // heading of the report
  std::string_view kind;   // the family whose stages are searched
  int pp = 1, microbatches = 1;
  double F = 1, I = 1, W = 1;  // of a rank's share
  double overlap = 1;          // F&B of F + I + W
  double hop = 0;
  double memory = 0;           // shares of 1/pp
  std::string_view published;  // whose figure; empty: nobody's
  double figure = 0;
  std::string_view uneven = "";  // name of the stage factors; empty: all stages alike
};

std::span<const ScheduleCase> schedule_cases();

struct ScheduleCaseResult {
  ScheduleSearchResult search;
  std::vector<std::pair<std::string, double>>
      families;  // that keep the limit, with their makespans
};

// Times of the case's stages on a placement.
CellTimes case_times(const ScheduleCase& of, const Schedule& placement);

// `effort`: of the search; 0: the default.
ScheduleCaseResult run_case(const ScheduleCase& of, long effort,
                            const SearchProgress& progress = {});

}  // namespace orrery
