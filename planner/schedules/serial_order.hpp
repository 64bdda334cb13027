#pragma once
// One micro-batch after the other, all the way there and back: the order that holds least.
#include "planner/schedules/compact.hpp"

namespace orrery {

// As many activations on a rank as it has chunks of one direction; no deadlock on any placement.
CompactOrder serial_order(const CompactProblem& problem);

}  // namespace orrery
