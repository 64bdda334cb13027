#pragma once
// What a recipe costs on a cluster, phase by phase. Every phase, and every batch size on the way to
// its full one, has its own layout and schedule: the best that planner/layout_search.hpp finds for
// its sequence and batch. Where a recipe says how the run was laid out, that is priced beside it.
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "planner/campaign/recipe.hpp"
#include "planner/layout_search.hpp"

namespace orrery {

// A stretch of a phase with one batch.
struct PricedPiece {
  Training training;  // its tokens: of a middle run
  CostRange tokens;
  std::optional<ScoredPlan> best;    // nothing: no layout is feasible
  std::optional<ScoredPlan> as_run;  // nothing: not known, or not feasible with this batch
  std::string why_not;               // where nothing is feasible: a reason with its arithmetic

  CostRange gpu_hours(bool as_run = false) const;  // in the best layout, or as the run was laid out
};

struct PricedPhase {
  Phase phase;
  Cluster cluster;  // the phase's GPUs
  std::vector<PricedPiece> pieces;
  CostRange forward_gpu_hours, rollout_gpu_hours;  // of reinforcement learning

  bool feasible() const;
  bool has_as_run() const;
  CostRange gpu_hours(bool as_run = false) const;  // of all that the phase does
};

struct Campaign {
  CampaignRecipe recipe;
  Model model;
  Cluster cluster;
  std::vector<PricedPhase> phases;

  bool feasible() const;
  CostRange gpu_hours() const;
};

struct CampaignRequest {
  CampaignRecipe recipe;
  Model model;
  Cluster cluster;
  // The device in a cluster of so many nodes of the same kind.
  std::function<DeviceModel(const Cluster&)> device;
  std::string fix;    // dimensions of the best layouts, as --fix has them
  int finalists = 2;  // plans of each piece that are simulated with contention
};

// `progress`: the phase, its batch, and how far its search is.
using CampaignProgress =
    std::function<void(const std::string& phase, int batch, std::int64_t done, std::int64_t of)>;

// Throws InputError where the recipe's phases do not fit the cluster.
Campaign price_campaign(const CampaignRequest& request, const CampaignProgress& progress = {});

// A plan's own run, of its tokens, as a campaign of one phase.
Campaign price_plan(const Plan& plan, const DeviceModel& device);

// The batch sizes of a phase with the tokens that each sees, in order.
std::vector<PricedPiece> pieces_of(const Phase& phase);

// How long a batch takes to go forward through the plan's pipeline alone, all its micro-batches in
// one direction: the first takes every stage, each further one as long as the slowest rank.
Seconds forward_time(const Plan& plan, const CostSource& costs);

}  // namespace orrery
