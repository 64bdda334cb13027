#pragma once
// Stage map and schedule searched together: on every stage map near the plan's a short search of
// the schedule, on the best of them a longer one, on the best of those the whole search and
// SimGrid.
#include <optional>
#include <vector>

#include "planner/plan_schedule_search.hpp"
#include "planner/stage_map_moves.hpp"

namespace orrery {

struct JointTry {
  StageMap map;
  double family = 0;  // the family's schedule on it, by the cell times
  double bound = 0;   // no schedule on it is shorter whose activations fit
  // The shortest found in the last search of it; 0: not searched, since its bound is above others'
  // or its family's schedule does not fit.
  double searched = 0;
  std::optional<Schedule> shortest;         // of the short searches
  std::optional<PlanScheduleSearch> whole;  // of the last round
};

struct JointSearch {
  std::vector<JointTry> tries;  // best first: searched, then the others by bound
  std::size_t best_family = 0;  // the map on which the family's schedule is shortest
  std::size_t best = 0;         // the map with the shortest step on SimGrid
};

// `effort`: orders timed in each search of the last round. `most_moves`:
// planner/stage_map_moves.hpp.
JointSearch search_maps_and_schedules(const Plan& plan, const DeviceModel& device, int most_moves,
                                      long effort);

}  // namespace orrery
