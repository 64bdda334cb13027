#pragma once
// The answer of `orrery simulate` for people.
#include <string>

#include "core/plan.hpp"
#include "planner/step_summary.hpp"

namespace orrery {

// Plan, step, cost, where the time goes, memory, what it rests on. Ends with a newline; no colours.
std::string simulate_text(const Plan& plan, const Device& device, const StepSummary& summary);

// The parts of it that other reports use too.
std::string plan_heading(const Plan& plan);
std::string time_table(const StepSummary& summary);

}  // namespace orrery
