#pragma once
// The two hand-made schedules of "Zero Bubble Pipeline Parallelism" (Qi et al., ICLR 2024, arXiv
// 2401.10241, section 2), which split the backward into input gradient I and weight gradient W and
// let W's fill the waits.
//
//   ZB-H1   activations as 1F1B's, p on every rank; makespan idle (p-1) max(F, I, F + I - W)
//   ZB-H2   2p - 1 activations on every rank; window idle (p-1) max(0, F + I - 2W): none if
//           F + I <= 2W. Its makespan is shorter than ZB-H1's only where F + I - 2W or I exceed F.
#include <optional>
#include <string>

#include "core/schedule.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

Schedule zb_h1(const ScheduleRequest& request);
std::optional<std::string> zb_h1_why_not(const ScheduleRequest& request);

Schedule zb_h2(const ScheduleRequest& request);
std::optional<std::string> zb_h2_why_not(const ScheduleRequest& request);

}  // namespace orrery
