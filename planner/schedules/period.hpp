#pragma once
// How long a micro-batch takes in the steady state of a schedule.
#include <vector>

#include "core/quantity.hpp"
#include "core/schedule.hpp"
#include "core/timeline.hpp"
#include "planner/schedules/times.hpp"

namespace orrery {

// In the middle half of the step, on a rank with as much work as any: the time between two input
// gradients of a chunk, by how many micro-batches' worth of work were done meanwhile (forwards that
// run ahead, or backwards that catch up, count for what they are). Of ranks with equally much work
// the shortest: in a steady state all take as long, and beside it some wait. `spans`: [rank][cell].
Seconds steady_period(const Schedule& schedule, const std::vector<std::vector<Span>>& spans,
                      const CellTimes& times);

}  // namespace orrery
