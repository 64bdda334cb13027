#pragma once
// Searches the schedule of a Plan: cell times as the plan's own simulation gives them, limits of
// memory in bytes on each rank, the schedule search, and the searched plan carried out on SimGrid
// beside the old one.
#include "core/plan.hpp"
#include "planner/device_model.hpp"
#include "planner/memory.hpp"
#include "planner/plan_cells.hpp"
#include "planner/schedules/compact.hpp"
#include "planner/schedules/search.hpp"

namespace orrery {

struct PlanScheduleSearch {
  Plan plan;  // with the searched schedule; the old one where that is no slower on SimGrid
  ScheduleSearchResult search;
  CellTimes times;
  ActivationBytes bytes;    // with the limits that the search kept
  double cells_before = 0;  // makespan of the old schedule by the same cell times
  Seconds before, after;    // steps on SimGrid: the old schedule's, the best found one's
  MemoryTable memory_before, memory_after;  // of the fullest rank
  Rank fullest_before, fullest_after;
  bool fits = false;  // whether any schedule found fits into memory as SimGrid runs it
  bool better() const { return after < before; }
};

// `also`: further schedules of the plan's stages to start from.
PlanScheduleSearch search_plan_schedule(const Plan& plan, const DeviceModel& device, long effort,
                                        const SearchProgress& progress = {},
                                        const std::vector<Schedule>& also = {});

// The search alone: nothing of what it finds is simulated or sure to fit to the last byte.
ScheduleSearchResult search_cells(const Plan& plan, const DeviceModel& device, long effort);

// What is searched: the plan's stages, cell times and limits in bytes, its own schedule within.
CompactProblem plan_problem(const Plan& plan, const DeviceModel& device, const CellTimes& times);

// By how much each rank's memory is too small; zero where it fits.
std::vector<Bytes> memory_lacking(const Plan& plan, const DeviceModel& device);
bool fits(const Plan& plan, const DeviceModel& device);

}  // namespace orrery
