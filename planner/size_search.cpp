#include "planner/size_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "core/cluster_part.hpp"
#include "core/error.hpp"

namespace orrery {
namespace {

// What a plan costs in each respect, less being better.
using Costs = std::tuple<int, double, double, double>;

Costs costs_of(const ScoredPlan& plan) {
  return {plan.plan.cluster.gpus(), plan.step.value(), plan.gpu_hours, -plan.memory.free().value()};
}

bool dominates(const Costs& a, const Costs& b) {
  const auto& [gpus, step, hours, taken] = a;
  const auto& [other_gpus, other_step, other_hours, other_taken] = b;
  return a != b && gpus <= other_gpus && step <= other_step && hours <= other_hours &&
         taken <= other_taken;
}

}  // namespace

std::string_view to_string(Objective objective) {
  return objective == Objective::kGpuHours ? "gpu-hours" : "step-time";
}

std::optional<Objective> objective_named(std::string_view name) {
  for (const Objective objective : {Objective::kGpuHours, Objective::kStepTime}) {
    if (to_string(objective) == name) return objective;
  }
  return std::nullopt;
}

std::vector<SizeSearched> search_sizes(const SizeSearchRequest& request,
                                       const SizeProgress& progress) {
  const Cluster& whole = request.search.cluster;
  for (const int gpus : request.gpus) {
    if (const auto why = why_no_part(whole, gpus))
      throw InputError(fmt::format("error: no search on {} GPUs: {}", gpus, *why));
  }
  std::vector<SizeSearched> sizes;
  for (const int gpus : request.gpus) {
    SearchRequest own = request.search;
    own.cluster = cluster_part(whole, gpus);
    own.space = request.space(own.cluster);
    const DeviceModel device = request.device(own.cluster);
    if (own.front && device.host() != nullptr)
      throw InputError(
          "error: there is no front on a host, whose memory all ranks share\n"
          "  = leave --pareto out");
    own.calibration = device.reference();
    SearchResult result = search_layouts(own, device, [&](std::int64_t done, std::int64_t of) {
      if (progress) progress(gpus, done, of);
    });
    sizes.push_back({std::move(own), std::move(result)});
  }
  return sizes;
}

SearchResult merged(const std::vector<SizeSearched>& sizes, Objective objective, int top) {
  SearchResult all;
  for (const SizeSearched& size : sizes) {
    const SearchResult& own = size.result;
    all.space += own.space;
    for (const auto& [reason, count] : own.rejected) all.rejected[reason] += count;
    all.examples.insert(own.examples.begin(), own.examples.end());
    all.pruned += own.pruned;
    all.scored += own.scored;
    all.simulated += own.simulated;
    all.finalists += own.finalists;
    all.truncated = all.truncated || own.truncated;
    all.plans.insert(all.plans.end(), own.plans.begin(), own.plans.end());
  }
  std::stable_sort(
      all.plans.begin(), all.plans.end(), [&](const ScoredPlan& a, const ScoredPlan& b) {
        return objective == Objective::kGpuHours ? a.gpu_hours < b.gpu_hours : a.step < b.step;
      });
  if (static_cast<int>(all.plans.size()) > top)
    all.plans.erase(all.plans.begin() + top, all.plans.end());
  return all;
}

std::vector<ScoredPlan> pareto_front(std::vector<ScoredPlan> plans) {
  std::vector<Costs> costs;
  for (const ScoredPlan& plan : plans) costs.push_back(costs_of(plan));
  std::vector<ScoredPlan> front;
  for (std::size_t own = 0; own < plans.size(); ++own) {
    const bool beaten = std::any_of(costs.begin(), costs.end(), [&](const Costs& other) {
      return dominates(other, costs[own]);
    });
    if (!beaten) front.push_back(std::move(plans[own]));
  }
  std::stable_sort(front.begin(), front.end(), [](const ScoredPlan& a, const ScoredPlan& b) {
    return costs_of(a) < costs_of(b);
  });
  return front;
}

}  // namespace orrery
