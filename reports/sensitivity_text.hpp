#pragma once
// The answer of `orrery simulate --sensitivity` for people.
#include <string>

#include "planner/sensitivity.hpp"
#include "planner/step_summary.hpp"

namespace orrery {

// `summary`: of the step itself; its GPU-hours and cost get the same band.
std::string sensitivity_text(const StepSummary& summary, const Sensitivity& sensitivity,
                             const Uncertainty& uncertainty);

}  // namespace orrery
