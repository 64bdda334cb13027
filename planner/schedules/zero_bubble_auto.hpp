#pragma once
// Zero-bubble schedules made for given times and memory by constructive rules, as the automatic
// scheduler of "Zero Bubble Pipeline Parallelism" (Qi et al., arXiv 2401.10241, section 3) does for
// one chunk a rank: list schedules in which gradients go first, weight gradients fill waits, and a
// few rules say how many forwards a rank takes in and how small a wait a W may overrun. All
// combinations are tried, waits filled, and the shortest makespan is kept.
#include <optional>
#include <string>

#include "core/schedule.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

// Memory: request.memory shares of 1/pp, else pp of them (1F1B's).
Schedule zb_auto(const ScheduleRequest& request);
std::optional<std::string> zb_auto_why_not(const ScheduleRequest& request);

// The same with twice 1F1B's activations, which every rank uses: it takes forwards in until a
// gradient is there or the memory is used up, and gives memory back only where a wait has room for
// a W or nothing else goes. ZB-2p of the paper (its Table 4 and section 3.1, "as many F passes as
// possible"). Memory: request.memory shares, else 2 pp.
Schedule zb_2p(const ScheduleRequest& request);
std::optional<std::string> zb_2p_why_not(const ScheduleRequest& request);

}  // namespace orrery
