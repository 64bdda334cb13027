#pragma once
// On how many GPUs? The same training, with the same batch, searched on parts of one cluster.
//
// More GPUs shorten the step and cost GPU-hours; memory that is left free costs time. The Pareto
// front holds every plan that no other one equals or beats in all four: step time, GPU-hours,
// memory headroom and number of GPUs.
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "planner/layout_search.hpp"

namespace orrery {

enum class Objective { kGpuHours, kStepTime };
std::string_view to_string(Objective objective);
std::optional<Objective> objective_named(std::string_view name);

struct SizeSearchRequest {
  // Its cluster is the whole one; its space and calibration are set by size.
  SearchRequest search;
  std::vector<int> gpus;  // numbers of GPUs, each of whole nodes
  std::function<LayoutSpace(const Cluster&)> space;
  std::function<DeviceModel(const Cluster&)> device;
};

struct SizeSearched {
  SearchRequest request;  // on this many GPUs
  SearchResult result;
};

// `progress`: the number of GPUs, and how far its search is.
using SizeProgress = std::function<void(int gpus, std::int64_t done, std::int64_t of)>;

// In the order of the numbers. Throws InputError where the cluster has no such part.
std::vector<SizeSearched> search_sizes(const SizeSearchRequest& request,
                                       const SizeProgress& progress = {});

// All of them in one: counts added up, the best `top` plans by the objective.
SearchResult merged(const std::vector<SizeSearched>& sizes, Objective objective, int top);

// Those of the plans that no other one dominates, by number of GPUs, then step time.
std::vector<ScoredPlan> pareto_front(std::vector<ScoredPlan> plans);

}  // namespace orrery
