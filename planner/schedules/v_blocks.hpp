#pragma once
// V-Half and V-Min (Qi et al., "Pipeline Parallelism with Controllable Memory", arXiv 2405.15362):
// two chunks a rank placed as a V, and one building block, the six half-chunk slots of a
// micro-batch on every rank, repeated every six slots. The longer a micro-batch is in the block,
// the more activations are alive:
//
//             slots from rank to rank: F down, F up, I down, I up      activations, of 1/p
//   V-Min                              1,      1,    1,      1         (p + 4) div 3
//   V-Half                             2,      1,    2,      1         (p + 2) div 2
//
// The block assumes F = I = W; other times leave waits in the steady state. Warm-up and cool-down
// are reordered as in the paper (planner/schedules/v_grid.hpp), and waits that the times given
// leave are filled.
#include <optional>
#include <string>

#include "core/schedule.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

Schedule v_min(const ScheduleRequest& request);
std::optional<std::string> v_min_why_not(const ScheduleRequest& request);

Schedule v_half(const ScheduleRequest& request);
std::optional<std::string> v_half_why_not(const ScheduleRequest& request);

}  // namespace orrery
