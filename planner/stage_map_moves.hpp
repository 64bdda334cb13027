#pragma once
// Stage maps near that of a plan: layers moved between stages as long as the schedule of the plan's
// family gets shorter.
#include "core/plan.hpp"
#include "planner/device_model.hpp"

namespace orrery {

// One stage map of a plan: what the family's schedule takes on it by the cell times, and what no
// schedule beats whose activations fit.
struct StageMapTry {
  StageMap map;
  double family = 0, bound = 0;
};

struct StageMapSearch {
  Plan plan;                       // with the best map for its family's schedule
  std::vector<StageMapTry> tries;  // best first
};

// The same plan with another map.
Plan with_stage_map(Plan plan, StageMap map);

// Moves layers between neighbouring stages (the embedding stays first, the head last) as long as
// the family's schedule gets shorter, at most `most_moves` times; every map looked at is in the
// result. A map that does not fit into memory is not taken.
StageMapSearch search_stage_map(const Plan& plan, const DeviceModel& device, int most_moves);

}  // namespace orrery
