#pragma once
// What no schedule beats on any stage map: the lower bound of planner/schedules/lower_bound.hpp,
// its least over all ways to cut the model into consecutive stages.
//
// For placements on which a rank holds the stages s and S-1-s (DualPipe, V): where the layers
// before and behind them are known, so are the rank's own cells and the time that forwards take to
// reach it and gradients to come back (a lone F or I takes its layers one after another). So the
// bound of a rank depends on four cuts, and stages are taken from both ends towards the middle: the
// least over all maps of the largest bound of a rank, by dynamic programming over (cut in front,
// cut behind).
#include <vector>

#include "core/plan.hpp"
#include "planner/device_model.hpp"

namespace orrery {

struct BoundedStageMap {
  StageMap map;
  double bound = 0;
};

struct StageMapBound {
  double least = 0;  // over all maps
  // Some whose bound is within a thousandth of the least, smallest first.
  std::vector<BoundedStageMap> maps;
  int distinct = 0;  // pairs of stages timed
};

// Whether the plan's ranks hold stages s and S-1-s.
bool has_folded_stages(const Schedule& schedule);

// Every stage holds a layer at least; neither embedding nor head has a stage of its own. `below`: a
// makespan that some schedule reaches on some map, so that `least` is of interest only where it is
// less; `most` maps are listed. Requires has_folded_stages and no ZeRO stage above 1, whose
// collectives run beside other layers.
StageMapBound bound_stage_maps(const Plan& plan, const DeviceModel& device, double below,
                               long most);

// Of the plan's own map: the bounds of its ranks, those with the outermost stages first.
std::vector<double> bounds_of_map(const Plan& plan, const DeviceModel& device);

}  // namespace orrery
