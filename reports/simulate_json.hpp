#pragma once
// The answers of `orrery simulate`, `orrery plan` and `orrery campaign` for machines: one JSON
// object, `format_version` first.
#include <string>

#include "planner/campaign/goodput.hpp"
#include "planner/layout_search.hpp"
#include "planner/memory_details.hpp"
#include "planner/sensitivity.hpp"
#include "planner/size_search.hpp"
#include "planner/step_summary.hpp"
#include "sim/cluster_step.hpp"

namespace orrery {

// Wall-clock figures of the run itself; they sit in `timing` and are never compared.
struct RunTiming {
  double wall_s = 0;
  double cpu_s = 0;
};

// `cluster`: of GPUs simulated with contention; null elsewhere.
// `sensitivity` and `details`: null where they were not asked for.
std::string simulate_json(const Plan& plan, const StepSummary& summary, const ClusterStep* cluster,
                          const Skew& skew, const Sensitivity* sensitivity,
                          const MemoryDetails* details, const RunTiming& timing);
// `asked`: the layouts of --why, or null.
std::string plan_search_json(const SearchRequest& request, const SearchResult& result,
                             const SearchResult* asked, const RunTiming& timing);
// The front of `orrery plan --pareto`, with the counts of each number of GPUs.
std::string front_json(const std::vector<SizeSearched>& sizes, const std::vector<ScoredPlan>& front,
                       const RunTiming& timing);
// `goodput`: null where the cluster says nothing of its failures.
std::string campaign_json(const Campaign& campaign, const CampaignGoodput* goodput,
                          const RunTiming& timing);

}  // namespace orrery
