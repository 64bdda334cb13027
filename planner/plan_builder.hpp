#pragma once
// Puts a Plan together from its parts: layout checked against model and cluster, default stage map,
// schedule by name.
#include <optional>
#include <string>

#include "core/plan.hpp"
#include "planner/layouts/setting_costs.hpp"
#include "sim/calibrated_cost.hpp"

namespace orrery {

struct PlanRequest {
  Model model;
  Cluster cluster;
  Training training;
  Layout layout;                         // dp 0: derived; an empty stage map: the default
  std::string schedule;                  // a family's name
  std::optional<std::string> stage_map;  // text form; overrides the default
  CalibrationRef calibration;
};

// Throws InputError with all that does not fit. The default stage map is the model's own where its
// file states one for this number of stages, else the best by planner/stage_map_search.hpp.
Plan build_plan(PlanRequest request, const CostSource& costs);

// The entries of a model in order: E, dense, MoE, MTP, L.
std::vector<LayerKind> model_entries(const Model& model);

// The model's own map where it states one for so many stages, else the one that minimises the
// largest stage time F + I + W of computation, recomputation included.
StageMap default_stage_map(const Model& model, const SettingSums& sums, int stages);

// Of the plan's layout; its stage map does not matter.
SettingSums sum_setting(const Plan& plan, const CostSource& costs);

}  // namespace orrery
