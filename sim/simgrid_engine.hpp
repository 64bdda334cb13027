#pragma once
// Carries out a Program on SimGrid 3.32: transfers as flows that share the resources of a flow plan
// by max-min fairness, computations as timers, for the instructions of a stream run one at a time
// and share nothing.
//
// A transfer, and a collective as a whole, waits for its fixed time, then all of its flows start;
// it has ended when the last of them has. A flow carries its share of what a GPU sends over its
// medium, at most at that share of the limit of the CostSource.
//
// An activity is started only when it is ready: SimGrid searches its list of activities linearly.
// Flows have zero latency in SimGrid (its CM02 model would weigh shares by latency); the fixed part
// of a transfer is waited for before its flows start.
#include <span>

#include "core/timeline.hpp"
#include "sim/cost_source.hpp"
#include "sim/network/flow_plan.hpp"
#include "sim/step_skew.hpp"

namespace orrery {

struct NetworkStep {
  const Program& program;
  std::span<const std::int32_t> exchange_of;  // by instruction, into FlowPlan::exchanges; -1: none
  const FlowPlan& flows;
  std::span<const double> speeds = {};         // by rank of the Program; empty: all 1
  StepSkew* skew = nullptr;                    // uneven expert loads; null: even
  std::vector<FlowRecord>* records = nullptr;  // filled with every flow; null: not kept
};

// The caller fills in Timeline::source, rank_classes and gpus. Throws InputError when the Program
// deadlocks. Not thread-safe: SimGrid has one engine a process; use processes.
Timeline run_simgrid(const NetworkStep& step, const CostSource& costs);

}  // namespace orrery
