#pragma once
// Every schedule family on one model, cluster and layout: each with the stage map that suits its
// number of stages, by its own cell times.
#include <optional>
#include <string>
#include <vector>

#include "planner/device_model.hpp"
#include "planner/plan_builder.hpp"
#include "planner/schedules/lower_bound.hpp"

namespace orrery {

struct PlanFamily {
  std::string name;
  std::optional<std::string> why_not;  // it has no schedule of this size; then nothing else is set
  double cells = 0;                    // makespan of the cells, s
  LowerBound bound;  // of any schedule on its stages with the memory there is, or that it takes
  bool fits = false;
  Seconds step;  // on SimGrid, with contention and optimizer
};

// `request` without its schedule.
std::vector<PlanFamily> plan_families(const PlanRequest& request, const DeviceModel& device);

}  // namespace orrery
