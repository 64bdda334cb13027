#pragma once
// The schedule search next to what is published, as Markdown: reports/schedules.md.
#include <string>
#include <vector>

#include "planner/joint_search.hpp"
#include "planner/plan_families.hpp"
#include "planner/schedules/evaluation_speed.hpp"
#include "planner/schedules/published_cases.hpp"
#include "planner/stage_map_bound.hpp"

namespace orrery {

struct ScheduleCaseRow {
  ScheduleCase of;
  ScheduleCaseResult result;
  double wall_s = 0;
};

// A plan's schedule and stage map searched together.
struct PlanScheduleRows {
  std::string title;  // "DeepSeek-V3 on 2048 H800, 16 ranks x 120 micro-batches"
  Plan plan;          // its own map and schedule
  std::vector<PlanFamily> families;
  JointSearch joint;
  StageMapBound bound;
};

// `effort` as it was asked for; 0: the default.
std::string schedule_cases_text(const std::vector<ScheduleCaseRow>& rows,
                                const PlanScheduleRows& plan,
                                const std::vector<EvaluationSpeed>& speeds, long effort);
// Whether every figure that is published is met.
bool all_met(const std::vector<ScheduleCaseRow>& rows);

}  // namespace orrery
