#pragma once
// Chimera (Li and Hoefler, SC'21, arXiv 2107.06925): two 1F1B pipelines in opposite directions,
// merged slot by slot, half of the micro-batches in each; every rank holds two stages (twice the
// parameters). In a unit of p micro-batches the i-th of a direction has its F on stage s in slot 2i
// + s and its B in slot p + 2i + (p-1-s). More micro-batches are more units, one after another
// ("direct concatenation", section 3.4). Idle at m = p: (p-2) max(F, B).
#include <optional>
#include <string>

#include "core/schedule.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

// pp even, m a multiple of pp.
Schedule chimera(const ScheduleRequest& request);
std::optional<std::string> chimera_why_not(const ScheduleRequest& request);

}  // namespace orrery
