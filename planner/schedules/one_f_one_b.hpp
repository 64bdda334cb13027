#pragma once
// 1F1B, the one-forward-one-backward schedule (PipeDream-Flush: Narayanan et al., "Memory-Efficient
// Pipeline-Parallel DNN Training", ICML 2021, section 3; named 1F1B in Megatron-LM). One stage a
// rank, one direction, full backwards. With equal stages and no latency the bubble is (p-1)(F + B)
// and rank r holds at most p - r activations.
//
// The eager form takes in twice as many forwards before the first backward, 2(p-1-r), so that a
// message may take up to a cell's time each way without anyone waiting: rank r holds 2(p-1-r) + 1.
#include <optional>
#include <string>

#include "core/schedule.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

// Throws InputError where one_f_one_b_why_not() has an answer.
Schedule one_f_one_b(const ScheduleRequest& request);
Schedule one_f_one_b(int pp, int microbatches);
std::optional<std::string> one_f_one_b_why_not(const ScheduleRequest& request);

Schedule eager_one_f_one_b(const ScheduleRequest& request);
std::optional<std::string> eager_one_f_one_b_why_not(const ScheduleRequest& request);

}  // namespace orrery
