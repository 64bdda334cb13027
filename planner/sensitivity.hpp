#pragma once
// How sure a step time is, and what it hangs on: the plan's Program, timed without contention again
// and again with its kernels and links slower or faster than the calibration says.
#include <cstdint>
#include <vector>

#include "core/plan.hpp"
#include "core/program.hpp"
#include "sim/cost_source.hpp"
#include "sim/uncertainty.hpp"

namespace orrery {

struct KnobEffect {
  Knob knob = Knob::kGemm;
  double deviation = 0;    // as the calibration states it
  double elasticity = 0;   // per cent of the step by which 1 % longer times lengthen it
  // The step with the knob's times one deviation shorter, longer; the rows of the busiest experts,
  // even as calibrated, can only be more.
  Seconds faster, slower;
  Seconds swing() const { return slower - faster; }
};

struct Sensitivity {
  Seconds step;                     // without contention, as calibrated
  std::vector<KnobEffect> effects;  // of the knobs that matter at all, the largest swing first
  Seconds p10, p50, p90;            // of the drawn steps
  int samples = 0;
};

struct SensitivityOptions {
  int samples = 200;
  std::uint64_t seed = 1;
};

// Drawn factors are lognormal, those of the busiest experts' rows at least 1. `costs`: as
// calibrated.
Sensitivity step_sensitivity(const Plan& plan, const Program& program, const CostSource& costs,
                             const Uncertainty& uncertainty,
                             const SensitivityOptions& options = {});

}  // namespace orrery
