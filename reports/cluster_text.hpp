#pragma once
// The classes of GPUs of a simulated cluster, and what faults did to its step.
#include <string>
#include <vector>

#include "core/plan.hpp"
#include "reports/chrome_trace.hpp"
#include "sim/cluster_step.hpp"
#include "sim/collective_use.hpp"

namespace orrery {

// "GPU 5 of node 3", or "112 GPUs like GPU 0 of node 17".
std::string class_name(const Plan& plan, const FoldedStep& folding, int rank_class);

// For the trace of a step's classes.
std::vector<TraceRank> trace_ranks(const Plan& plan, const FoldedStep& folding);

// The faults, the step with and without them, and who waits for whom in collectives.
std::string faults_text(const Plan& plan, const Faults& faults, Seconds sound,
                        const ClusterStep& step);

// The faults in one clause: "GPU 4 of node 51 computes at 90 % of its speed".
std::string fault_list(const Plan& plan, const Faults& faults);
// Of GPUs of one pipeline rank, which waited longest for which before collectives, longest first:
// "127 GPUs of pipeline rank 3 wait 2.617 s a step for GPU 4 of node 51".
std::vector<std::string> who_waits(const Plan& plan, const ClusterStep& step, std::size_t most);

// How the experts were loaded, and how long GPUs waited for each other because of it.
std::string skew_text(const Plan& plan, const Skew& skew, const ClusterStep& step);

// How collectives are carried out; of those of one name, the one that takes longest.
std::string collectives_text(const std::vector<CollectiveUse>& collectives);

// Links by how much of the step they are busy.
std::string links_text(const std::vector<LinkUse>& links);

}  // namespace orrery
