#include "planner/sensitivity.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "sim/analytic.hpp"
#include "sim/varied_cost.hpp"
#include "workload/random.hpp"

namespace orrery {
namespace {

class StepTimer {
 public:
  StepTimer(const Plan& plan, const Program& program, const CostSource& costs)
      : program_(program), costs_(costs), gpus_(plan.layout.gpus()) {}

  Seconds operator()(const ByKnob& factors) const {
    const VariedCost costs(costs_, factors);
    std::map<std::tuple<std::size_t, bool, int>, Seconds> known;
    const auto duration = [&](const Instruction& instruction) {
      const auto [entry, is_new] = known.try_emplace(
          {instruction.work.index(), instruction.overlapped, instruction.lent_sms});
      if (is_new) {
        const Work& work = program_.work(instruction);
        entry->second = work.is_compute()
                            ? costs.compute(work, instruction.lent_sms).total()
                            : uncontended(work.wire, costs.transfer(work, instruction.overlapped,
                                                                    instruction.lent_sms));
      }
      return entry->second;
    };
    return run_analytic(program_, duration, gpus_).step;
  }

 private:
  const Program& program_;
  const CostSource& costs_;
  int gpus_;
};

ByKnob ones() {
  ByKnob factors;
  factors.fill(1);
  return factors;
}

Seconds at_share(const std::vector<Seconds>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5)];
}

}  // namespace

Sensitivity step_sensitivity(const Plan& plan, const Program& program, const CostSource& costs,
                             const Uncertainty& uncertainty, const SensitivityOptions& options) {
  const StepTimer step(plan, program, costs);
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
    effect.elasticity = (with(1 + kSmall) - with(1 - kSmall)) / result.step / (2 * kSmall);
    effect.faster = with(std::exp(-effect.deviation));
    effect.slower = with(std::exp(effect.deviation));
    if (effect.elasticity > 1e-9 || effect.swing() > Seconds{}) result.effects.push_back(effect);
  }
  std::stable_sort(result.effects.begin(), result.effects.end(),
                   [](const KnobEffect& a, const KnobEffect& b) { return a.swing() > b.swing(); });
  Random random(options.seed);
  std::vector<Seconds> drawn;
  for (int sample = 0; sample < options.samples; ++sample) {
    ByKnob factors;
    for (std::size_t knob = 0; knob < kKnobs; ++knob)
      factors[knob] = std::exp(uncertainty.deviation[knob] * random.normal());
    drawn.push_back(step(factors));
  }
  std::sort(drawn.begin(), drawn.end());
  result.samples = options.samples;
  if (!drawn.empty()) {
    result.p10 = at_share(drawn, 0.1);
    result.p50 = at_share(drawn, 0.5);
    result.p90 = at_share(drawn, 0.9);
  }
  return result;
}

}  // namespace orrery
