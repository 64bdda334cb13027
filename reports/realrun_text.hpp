#pragma once
// What a real run prints: what runs, a line a step, and what was measured.
#include <string>

#include "core/plan.hpp"
#include "realrun/training.hpp"

namespace orrery {

// `ranks_as`: "threads", "MPI processes".
std::string realrun_heading(const Plan& plan, const TrainingOptions& options,
                            const std::string& corpus, std::string_view ranks_as);
std::string realrun_step_line(const Plan& plan, const StepReport& report);
std::string realrun_closing(const Plan& plan, const TrainingResult& result);

}  // namespace orrery
