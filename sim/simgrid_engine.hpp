#pragma once
// Carries out a Program on SimGrid 3.32: computations as executions, transfers as flows that share
// NICs and NVLink ports by max-min fairness.
//
// Folding. One representative GPU stands for each pipeline rank: with balanced experts all GPUs of
// a rank do the same, so one representative gives the same times as all of them. An exchange inside
// the rank (expert parallelism, ZeRO) loads its representative's own ports in both directions; a
// pipeline transfer loads the sender's outgoing and the receiver's incoming port. The fabric has
// full bisection bandwidth and is not modelled as a bottleneck.
//
// An activity is started only when it is ready: SimGrid searches its list of activities linearly.
// Flows have zero latency in SimGrid (its CM02 model would weigh shares by latency); the fixed part
// of a transfer is waited for before its flows start.
#include "core/cluster.hpp"
#include "core/timeline.hpp"
#include "sim/cost_source.hpp"

namespace orrery {

// Throws InputError when the Program deadlocks. Not thread-safe: SimGrid has one engine a process;
// use processes.
Timeline run_folded(const Program& program, const Cluster& cluster, const CostSource& costs,
                    int gpus);

}  // namespace orrery
