#include "planner/sensitivity.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <optional>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "planner/device_model.hpp"
#include "planner/plan_builder.hpp"
#include "sim/analytic.hpp"
#include "sim/varied_cost.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

struct Small {
  Small() {
    cluster = read_cluster(resolve("h800-64", CatalogKind::kCluster));
    device.emplace(read_device_model(resolve("h800", CatalogKind::kCalibration), cluster));
    Layout layout;
    layout.pp = 4;
    layout.ep = 16;
    layout.dp = 0;
    Training training;
    training.global_batch = 256;
    plan = build_plan({read_model(resolve("deepseek-v2-lite", CatalogKind::kModel)), cluster,
                       training, layout, "dualpipe", std::nullopt, device->reference()},
                      device->costs());
    program = lower(plan);
  }

  Seconds step(const ByKnob& factors) const {
    return run_analytic(program, VariedCost(device->costs(), factors), plan.layout.gpus()).step;
  }

  Cluster cluster;
  std::optional<DeviceModel> device;
  Plan plan;
  Program program;
};

ByKnob all(double factor) {
  ByKnob factors;
  factors.fill(factor);
  return factors;
}

TEST_CASE("costs that are not varied are the calibration's", "[sensitivity]") {
  const Small small;
  const VariedCost same(small.device->costs(), all(1));
  for (const Work& work : small.program.works) {
    if (work.is_compute()) {
      CHECK(same.compute(work, 20).total() == small.device->costs().compute(work, 20).total());
    } else {
      CHECK(uncontended(work.wire, same.transfer(work, true, 20)) ==
            uncontended(work.wire, small.device->costs().transfer(work, true, 20)));
    }
  }
}

TEST_CASE("each knob turns its own kernels and links", "[sensitivity]") {
  const Small small;
  for (const Work& work : small.program.works) {
    for (std::size_t knob = 0; knob < kKnobs; ++knob) {
      ByKnob factors = all(1);
      factors[knob] = 2;
      const VariedCost costs(small.device->costs(), factors);
      if (!work.is_compute()) {
        const TransferCost before = small.device->costs().transfer(work, true, 20);
        const TransferCost after = costs.transfer(work, true, 20);
        CHECK(after.fixed == before.fixed);
        if (knob == static_cast<std::size_t>(Knob::kNic))
          CHECK(after.nic_limit.value() == Approx(before.nic_limit.value() / 2));
        if (knob == static_cast<std::size_t>(Knob::kGemm))
          CHECK(after.nic_limit == before.nic_limit);
        continue;
      }
      // By hand: every op alone, those of the knob twice.
      double busy = small.device->costs().compute(work, 0).busy.value();
      for (const Op& op : work.ops) {
        const bool grouped =
            op.kernel == KernelClass::kGroupedGemm || op.kernel == KernelClass::kGroupedWgrad;
        const KernelKind kind = kernel_kind(op.kernel);
        const bool turned =
            (knob == static_cast<std::size_t>(Knob::kGemm) && kind == KernelKind::kGemm) ||
            (knob == static_cast<std::size_t>(Knob::kAttention) &&
             kind == KernelKind::kAttention) ||
            (knob == static_cast<std::size_t>(Knob::kStreaming) &&
             kind == KernelKind::kStreaming) ||
            (knob == static_cast<std::size_t>(Knob::kExperts) && grouped);
        Work alone = work;
        alone.ops = {op};
        if (turned) busy += small.device->costs().compute(alone, 0).busy.value();
      }
      CHECK(costs.compute(work, 0).busy.value() == Approx(busy));
    }
  }
}

TEST_CASE("the elasticities of a step add up to nearly one", "[sensitivity]") {
  const Small small;
  Uncertainty uncertainty;
  uncertainty.deviation = {0.05, 0.05, 0.1, 0.05, 0.05, 0.02};
  const Sensitivity result =
      step_sensitivity(small.plan, small.program, small.device->costs(), uncertainty, {300, 7});
  CHECK(result.step == small.step(all(1)));
  double sum = 0;
  for (const KnobEffect& effect : result.effects) {
    CHECK(effect.faster <= result.step);
    CHECK(effect.slower >= result.step);
    if (effect.knob != Knob::kExperts) sum += effect.elasticity;
  }
  // The rest are launch gaps and latencies, which no knob turns.
  CHECK(sum <= 1.001);
  CHECK(sum > 0.8);
  for (std::size_t at = 1; at < result.effects.size(); ++at)
    CHECK(result.effects[at - 1].swing() >= result.effects[at].swing());
  CHECK(result.p10 < result.p50);
  CHECK(result.p50 < result.p90);
  // To first order the band of independent lognormal factors is theirs added in squares; half a
  // normal distribution, as the experts' rows have it, has 1 - 2/pi of its variance.
  double variance = 0;
  for (const KnobEffect& effect : result.effects) {
    const double share = effect.knob == Knob::kExperts ? 1 - 2 / M_PI : 1;
    variance += share * std::pow(effect.elasticity * effect.deviation, 2);
  }
  CHECK(std::log(result.p90 / result.p10) == Approx(2 * 1.2816 * std::sqrt(variance)).epsilon(0.2));
  const Sensitivity again =
      step_sensitivity(small.plan, small.program, small.device->costs(), uncertainty, {300, 7});
  CHECK(again.p90 == result.p90);
}

TEST_CASE("busier experts can only lengthen a step of even loads", "[sensitivity]") {
  const Small small;
  Uncertainty uncertainty;
  uncertainty.deviation[static_cast<std::size_t>(Knob::kExperts)] = 0.1;
  const Sensitivity result =
      step_sensitivity(small.plan, small.program, small.device->costs(), uncertainty, {200, 7});
  for (const KnobEffect& effect : result.effects) {
    if (effect.knob != Knob::kExperts) continue;
    CHECK(effect.faster == result.step);
    CHECK(effect.slower > result.step);
  }
  CHECK(result.p10 >= result.step);
  // The median of half a normal distribution is 0.6745 deviations.
  ByKnob median = all(1);
  median[static_cast<std::size_t>(Knob::kExperts)] = std::exp(0.1 * 0.6745);
  CHECK(result.p50.value() == Approx(small.step(median).value()).epsilon(0.005));
}

}  // namespace
}  // namespace orrery
