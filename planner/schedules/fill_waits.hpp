#pragma once
// Moves later cells of a rank into the waits of an order ("reorder" in the controllable-memory
// paper): ranks are simulated side by side, and one that would wait takes the first of its later
// cells that can run meanwhile and leaves the limit of activations kept.
#include "planner/schedules/compact.hpp"

namespace orrery {

// The new order, or the old one where that is no slower. `order` is valid and keeps the limits.
CompactOrder fill_waits(const CompactProblem& problem, const CompactOrder& order);

}  // namespace orrery
