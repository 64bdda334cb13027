#pragma once
// Puts a Plan together from its parts: layout checked against model and cluster, default stage map,
// schedule by name.
#include <optional>
#include <string>

#include "core/plan.hpp"
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

// The map that minimises the largest stage time F + I + W of computation.
StageMap default_stage_map(const Plan& plan, const CostSource& costs, int stages);

}  // namespace orrery
