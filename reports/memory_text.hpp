#pragma once
// What every pipeline rank of a plan keeps in memory, as a table that adds up, and what it would be
// if.
#include <string>

#include "core/plan.hpp"
#include "planner/memory_details.hpp"

namespace orrery {

std::string memory_text(const Plan& plan, const DeviceModel& device, const MemoryDetails& details);

}  // namespace orrery
