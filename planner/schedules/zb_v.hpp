#pragma once
// ZB-V (Qi et al., "Pipeline Parallelism with Controllable Memory", arXiv 2405.15362): two chunks a
// rank placed as a V, and no bubble in the steady state with 1F1B's memory, 2 p half-chunks. Made
// for given times, by rounds as there (planner/schedules/v_rounds.hpp) and, where that does not
// reach the lower bound or the memory is less, by list schedules in which gradients go first and
// weight gradients fill waits, under a few rules for how many forwards of the first chunk a rank
// takes in; the best of them is polished by a short search of its order.
//
// Published idle with equal times and m >= 2p: (p-1) F / 2, the lower bound.
#include <optional>
#include <string>

#include "core/schedule.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

// Memory: request.memory shares of 1/pp, at least 1; else pp of them.
Schedule zb_v(const ScheduleRequest& request);
std::optional<std::string> zb_v_why_not(const ScheduleRequest& request);

}  // namespace orrery
