// Uneven expert loads: the mean-field step of a few representatives against the step of every GPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>

#include "core/error.hpp"
#include "sim/cluster_step.hpp"
#include "tests/planner/published_plan.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

struct Case {
  int gpus, pp, ep, tp;
  const char* schedule;
  Skew skew;
};

Plan plan_of(const Case& of) {
  const PublishedPlan published;
  PlanRequest request = published.request;
  request.model.layers = 4;
  request.model.dense_layers = 1;
  request.model.mtp_depth = 0;
  request.model.stage_map.reset();
  request.cluster.nodes = of.gpus / 8;
  request.layout = {};
  request.layout.pp = of.pp;
  request.layout.ep = of.ep;
  request.layout.tp = of.tp;
  request.layout.dp = 0;
  request.schedule = of.schedule;
  request.training.global_batch = of.gpus / of.pp / of.tp * 2 * of.pp;
  return build_plan(request, published.costs());
}

// `seeds` of each case.
void compare(int seeds) {
  const PublishedPlan published;
  for (const Case& of : {Case{64, 1, 64, 1, "1f1b", {SkewKind::kIid, 0, 4096}},
                         Case{64, 2, 16, 1, "dualpipe", {SkewKind::kIid, 0, 4096}},
                         Case{64, 2, 8, 2, "1f1b", {SkewKind::kIid, 0, 1024}},
                         Case{64, 2, 32, 1, "zb-h1", {SkewKind::kZipf, 0.5}},
                         Case{128, 2, 64, 1, "dualpipe", {SkewKind::kIid, 0, 1024}}}) {
    const Plan plan = plan_of(of);
    const CalibratedCost costs(published.calibration, plan.cluster);
    const Program program = lower(plan);
    const double even = run_cluster(plan, program, costs).classes.step.value();
    double worst_step = 0, worst_wait = 0, longest = 0;
    for (int seed = 1; seed <= seeds; ++seed) {
      Skew skew = of.skew;
      skew.seed = static_cast<std::uint64_t>(seed);
      const ClusterStep folded = run_cluster(plan, program, costs, Grouping::kFolded, {}, skew);
      const ClusterStep full = run_cluster(plan, program, costs, Grouping::kNone, {}, skew);
      const double step = folded.classes.step / full.classes.step - 1;
      const double wait = folded.straggler_wait / full.straggler_wait - 1;
      CAPTURE(of.gpus, of.pp, of.ep, of.schedule, seed, step, wait);
      CHECK(std::abs(step) <= 0.02);
      CHECK(std::abs(wait) <= 0.15);
      CHECK(full.straggler_wait.value() > 0);
      CHECK(full.classes.step.value() > even);
      worst_step = std::max(worst_step, std::abs(step));
      worst_wait = std::max(worst_wait, std::abs(wait));
      longest = std::max(longest, full.classes.step.value());
    }
    std::cout << fmt::format(
        "  {} GPUs, pp={} ep={} tp={}, {}: {} seeds, even {:.4f} s, uneven up to {:.4f} s; folded "
        "differs by at most {:.3f} % in the step and {:.2f} % in the waits\n",
        of.gpus, of.pp, of.ep, of.tp, of.schedule, seeds, even, longest, 100 * worst_step,
        100 * worst_wait);
  }
}

}  // namespace

TEST_CASE("with skew the folded step is the full one within 2 %, its waits within 15 %") {
  compare(1);
}

// Minutes; run it by its name.
TEST_CASE("with skew the folded step is the full one, twenty seeds of each case", "[.seeds]") {
  compare(20);
}

// The busiest GPU and the slowest node are rarely the same: their delays must not multiply.
TEST_CASE("with skew and a node without NVLink the folded step is still the full one") {
  const PublishedPlan published;
  const Case of{64, 2, 32, 1, "1f1b", {SkewKind::kZipf, 1, 0, 1}};
  const Plan plan = plan_of(of);
  const CalibratedCost costs(published.calibration, plan.cluster);
  const Program program = lower(plan);
  Faults faults;
  faults.nvlink[3] = gigabytes_per_second(25);
  const ClusterStep folded = run_cluster(plan, program, costs, Grouping::kFolded, faults, of.skew);
  const ClusterStep full = run_cluster(plan, program, costs, Grouping::kNone, faults, of.skew);
  CHECK(folded.classes.step / full.classes.step == Approx(1).epsilon(0.02));
}

TEST_CASE("a step with skew repeats with its seed, and differs with another") {
  const PublishedPlan published;
  const Case of{64, 2, 16, 1, "1f1b", {SkewKind::kIid, 0, 4096, 3}};
  const Plan plan = plan_of(of);
  const CalibratedCost costs(published.calibration, plan.cluster);
  const Program program = lower(plan);
  const auto step = [&](std::uint64_t seed) {
    Skew skew = of.skew;
    skew.seed = seed;
    return run_cluster(plan, program, costs, Grouping::kFolded, {}, skew).classes.step.value();
  };
  CHECK(step(3) == Approx(step(3)).epsilon(1e-12));
  CHECK(std::abs(step(3) - step(4)) > 1e-9);
}

}  // namespace orrery
