#pragma once
// GPipe (Huang et al., NeurIPS 2019, arXiv 1811.06965): all forwards, then all backwards. With
// equal stages and no latency the bubble is (p-1)(F + B); every rank holds all m activations.
#include <optional>
#include <string>

#include "core/schedule.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

// Throws InputError where gpipe_why_not() has an answer.
Schedule gpipe(const ScheduleRequest& request);
std::optional<std::string> gpipe_why_not(const ScheduleRequest& request);

}  // namespace orrery
