#pragma once
// What every pipeline rank of a plan keeps in memory, as a table that adds up, and what it would be
// if.
#include <string>

#include "core/plan.hpp"
#include "core/program.hpp"
#include "core/timeline.hpp"
#include "planner/device_model.hpp"

namespace orrery {

// `program` and `timeline`: of the plan, carried out. What-ifs: the moving average of the weights
// on the other side, nothing recomputed, embedding and head of the MTP modules of their own.
std::string memory_text(const Plan& plan, const DeviceModel& device, const Program& program,
                        const Timeline& timeline);

}  // namespace orrery
