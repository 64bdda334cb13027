#pragma once
// The best plans of a search with a schedule of their own each: made for their stage times and the
// memory that they leave, instead of by their family's rule.
#include <functional>
#include <vector>

#include "planner/layout_search.hpp"
#include "planner/plan_schedule_search.hpp"
#include "planner/size_search.hpp"

namespace orrery {

// `plan`: which of them, from 0; the rest as in SearchProgress.
using FinalistProgress = std::function<void(int plan, long spent, long of, double makespan)>;

// Searches the schedules of the first `count` plans, `effort` orders each (0: about 30 s), and puts
// the plans into order again: those first that were simulated with contention, best by `objective`.
// A plan that gets a shorter step with it has that schedule, step and memory, and GPU-hours by the
// step; every plan looked at has `searched`.
void search_finalist_schedules(std::vector<ScoredPlan>& plans, int count, Objective objective,
                               const std::function<DeviceModel(const Cluster&)>& device,
                               long effort, const FinalistProgress& progress = {});

}  // namespace orrery
