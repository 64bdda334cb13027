#pragma once
// Another way to pair: on every rank each pair takes the backward of the pair before it. The first
// forward then runs alone, the last backward too, and one more activation is held between. Where
// pairs alternate between two chunks (DualPipe), a forward comes to be paired with a backward of
// its own chunk, which is worth more where the chunks of a rank differ, and every gradient has the
// length of a pair more to arrive.
#include "planner/schedules/compact.hpp"

namespace orrery {

// Nothing where no rank has two pairs. The limits are not looked at.
std::optional<CompactOrder> slide_pairs(const CompactOrder& order);

}  // namespace orrery
