#pragma once
// Where a step goes, in parts that can be laid beside another plan's: computation, communication
// that nothing covers by what it is for, and waiting. Means over pipeline ranks; they add up.
#include <map>

#include "core/plan.hpp"
#include "core/program.hpp"
#include "planner/step_summary.hpp"

namespace orrery {

struct StepParts {
  Seconds compute;                       // kernels run, but for the optimizer's
  Seconds update;                        // the optimizer's run, or its part on the CPU
  std::map<Component, Seconds> exposed;  // communication runs and no kernel
  Seconds wait;                          // inside cells neither runs
  Seconds bubble;                        // between cells
  Seconds total() const;
};

// `summary`: of the same program and timeline.
StepParts step_parts(const Program& program, const Timeline& timeline, const StepSummary& summary);

}  // namespace orrery
