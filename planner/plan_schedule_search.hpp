#pragma once
// Searches the schedule of a Plan: cell times as the plan's own simulation gives them, a limit of
// activations on each rank from its memory, the schedule search, and the searched plan carried out
// on SimGrid beside the old one.
#include "core/plan.hpp"
#include "planner/device_model.hpp"
#include "planner/schedules/search.hpp"

namespace orrery {

// Times of the plan's cells without contention: each kind of cell on each rank as the shortest of
// its kind takes, from its first start to its last end; when its outputs leave and its gradient is
// needed inside pairs; and the latency of messages. What no cell of the plan's schedule is (some
// pairs), is taken as its halves one after the other.
CellTimes plan_cell_times(const Plan& plan, const CostSource& costs);

// Chunk activations that fit beside all else on each rank, at least as many as the plan's schedule
// holds.
std::vector<int> plan_activation_limits(const Plan& plan, const DeviceModel& device);

struct PlanScheduleSearch {
  Plan plan;  // with the searched schedule; the old one where that is no slower on SimGrid
  ScheduleSearchResult search;
  CellTimes times;
  std::vector<int> limits;
  double cells_before = 0;  // makespan of the old schedule by the same cell times
  Seconds before, after;    // steps on SimGrid: the old schedule's, the best found one's
  // Whether any schedule found fits into memory: a weight gradient that waits keeps its operands,
  // which the limits of activations do not count.
  bool fits = false;
  bool better() const { return after < before; }
};

// `more_memory`: as many activations as fit; else those of the plan's schedule on its fullest rank.
PlanScheduleSearch search_plan_schedule(const Plan& plan, const DeviceModel& device, long effort,
                                        bool more_memory, const SearchProgress& progress = {});

// One stage map of a plan: what the family's schedule takes on it by the cell times, and what no
// schedule beats that holds as many activations.
struct StageMapTry {
  StageMap map;
  double family = 0, bound = 0;
};

struct StageMapSearch {
  Plan plan;                       // with the best map for its family's schedule
  std::vector<StageMapTry> tries;  // best first
};

// Moves layers between neighbouring stages (the embedding stays first, the head last) as long as
// the family's schedule gets shorter, at most `most_moves` times; every map looked at is in the
// result. A map that does not fit into memory is not taken.
StageMapSearch search_stage_map(const Plan& plan, const DeviceModel& device, int most_moves);

}  // namespace orrery
