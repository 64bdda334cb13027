#pragma once
// One step of a plan on its whole cluster, with contention: folded to one representative for each
// class of GPUs that do the same, or with every GPU, NIC and link.
#include "core/faults.hpp"
#include "core/plan.hpp"
#include "core/timeline.hpp"
#include "sim/cost_source.hpp"
#include "sim/network/folding.hpp"
#include "sim/network/link_use.hpp"
#include "workload/expert_skew.hpp"

namespace orrery {

struct ClusterStep {
  FoldedStep folding;
  Timeline classes;   // of folding.expanded.program: the representatives
  Timeline timeline;  // of the plan's Program: on each pipeline rank its largest class
  // With uneven expert loads: in the mean over GPUs, the time that those ready first wait before
  // exchanges.
  Seconds straggler_wait;
  std::vector<LinkUse> links;  // where they were asked for
};

// `program` is lowered from `plan`. Throws TooManyInstructions where
// it is too large, InputError when it deadlocks or no path is left between
// GPUs that talk.
ClusterStep run_cluster(const Plan& plan, const Program& program, const CostSource& costs,
                        Grouping grouping = Grouping::kFolded, const Faults& faults = {},
                        const Skew& skew = {}, bool with_links = false);

// The timeline of the plan's Program alone.
Timeline run_folded(const Plan& plan, const Program& program, const CostSource& costs);

}  // namespace orrery
