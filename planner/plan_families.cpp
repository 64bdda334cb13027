#include "planner/plan_families.hpp"

#include "core/error.hpp"
#include "planner/plan_cells.hpp"
#include "planner/plan_schedule_search.hpp"
#include "planner/prediction.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/timing.hpp"
#include "workload/lower.hpp"

namespace orrery {

std::vector<PlanFamily> plan_families(const PlanRequest& request, const DeviceModel& device) {
  std::vector<PlanFamily> rows;
  for (const ScheduleFamily& family : schedule_families()) {
    PlanFamily& row = rows.emplace_back();
    row.name = family.name;
    PlanRequest own = request;
    own.schedule = row.name;
    Plan plan;
    try {
      plan = build_plan(own, device.costs());
    } catch (const InputError& error) {
      const std::string why = error.what();
      row.why_not = why.substr(0, why.find('\n'));
      continue;
    }
    const CellTimes times = plan_cell_times(plan, device.costs());
    row.cells = time_schedule(plan.schedule, times).makespan.value();
    row.bound = lower_bound(plan_problem(plan, device, times));
    row.fits = fits(plan, device);
    row.step = predict(plan, lower(plan), device, {}).timeline.step;
  }
  return rows;
}

}  // namespace orrery
