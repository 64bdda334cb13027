#pragma once
// What zb-auto and zb-v are made for: the stages of their placement, with the times of the request
// and without pairs, whatever they would gain (with pairs it would be another family).
#include <optional>
#include <string>
#include <string_view>

#include "planner/schedules/compact.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

// As no_room() in rank_cells.hpp, and where the memory is less than one share of the activations.
std::optional<std::string> no_room_or_memory(std::string_view family,
                                             const ScheduleRequest& request);

// Every rank may hold request.memory shares of 1/pp of the activations; pp of them where it says
// nothing.
CompactProblem family_problem(const Schedule& placement, const ScheduleRequest& request);

}  // namespace orrery
