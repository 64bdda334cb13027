#pragma once
// Carries out a Program without contention: every transfer takes as long as if it were alone. One
// pass over the dependency graph (its longest path), a few milliseconds for a step of 10^5
// instructions. Equal to the SimGrid engine wherever no two transfers meet on a link.
#include <functional>

#include "core/timeline.hpp"
#include "sim/cost_source.hpp"

namespace orrery {

// Throws InputError when the Program deadlocks. `gpus` that the ranks stand for, for the record.
Timeline run_analytic(const Program& program, const CostSource& costs, int gpus);

// The same with durations from elsewhere, asked once per instruction; of a transfer the send's.
using DurationOf = std::function<Seconds(const Instruction& instruction)>;
Timeline run_analytic(const Program& program, const DurationOf& duration, int gpus);

}  // namespace orrery
