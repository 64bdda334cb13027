#include "planner/sensitivity.hpp"

#include <algorithm>
#include <cmath>

#include "planner/quantile.hpp"
#include "sim/analytic.hpp"
#include "sim/varied_cost.hpp"
#include "workload/random.hpp"

namespace orrery {
namespace {

ByKnob ones() {
  ByKnob factors;
  factors.fill(1);
  return factors;
}

// The busiest experts have no fewer rows than the mean, which is what the step is timed with.
bool only_slower(Knob knob) {
  return knob == Knob::kExperts;
}

}  // namespace

Sensitivity step_sensitivity(const Plan& plan, const Program& program, const CostSource& costs,
                             const Uncertainty& uncertainty, const SensitivityOptions& options) {
  const auto step = [&](const ByKnob& factors) {
    return run_analytic(program, VariedCost(costs, factors), plan.layout.gpus()).step;
  };
  Sensitivity result;
  result.step = step(ones());
  for (std::size_t knob = 0; knob < kKnobs; ++knob) {
    const auto with = [&](double factor) {
      ByKnob factors = ones();
      factors[knob] = factor;
      return step(factors);
    };
    KnobEffect effect;
    effect.knob = static_cast<Knob>(knob);
    effect.deviation = uncertainty.deviation[knob];
    constexpr double kSmall = 0.01;
    if (only_slower(effect.knob)) {
      effect.elasticity = (with(1 + kSmall) - result.step) / result.step / kSmall;
      effect.faster = result.step;
    } else {
      effect.elasticity = (with(1 + kSmall) - with(1 - kSmall)) / result.step / (2 * kSmall);
      effect.faster = with(std::exp(-effect.deviation));
    }
    effect.slower = with(std::exp(effect.deviation));
    if (effect.elasticity > 1e-9 || effect.swing() > Seconds{}) result.effects.push_back(effect);
  }
  std::stable_sort(result.effects.begin(), result.effects.end(),
                   [](const KnobEffect& a, const KnobEffect& b) { return a.swing() > b.swing(); });
  Random random(options.seed);
  std::vector<Seconds> drawn;
  for (int sample = 0; sample < options.samples; ++sample) {
    ByKnob factors;
    for (std::size_t knob = 0; knob < kKnobs; ++knob) {
      const double normal = random.normal();
      const double off = only_slower(static_cast<Knob>(knob)) ? std::abs(normal) : normal;
      factors[knob] = std::exp(uncertainty.deviation[knob] * off);
    }
    drawn.push_back(step(factors));
  }
  std::sort(drawn.begin(), drawn.end());
  result.samples = options.samples;
  if (!drawn.empty()) {
    result.p10 = quantile(drawn, 0.1);
    result.p50 = quantile(drawn, 0.5);
    result.p90 = quantile(drawn, 0.9);
  }
  return result;
}

}  // namespace orrery
