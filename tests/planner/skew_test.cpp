// Uneven expert loads: the mean-field step of a few representatives against the step of every GPU.
#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>

#include "core/error.hpp"
#include "sim/cluster_step.hpp"
#include "tests/planner/published_plan.hpp"
#include "workload/expert_rows.hpp"
#include "workload/groups.hpp"
#include "workload/loaded_program.hpp"
#include "workload/lower.hpp"
#include "workload/world.hpp"

namespace orrery {
namespace {

struct Case {
  int gpus, pp, ep, tp;
  const char* schedule;
  Skew skew;
  int cp = 1;
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
  request.layout.cp = of.cp;
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
                         Case{64, 2, 32, 2, "1f1b", {SkewKind::kIid, 0, 1024}},
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

// Each of the cp * tp GPUs that share a sequence sends its own part of the tokens.
TEST_CASE("measured loads of context-parallel GPUs are of their own tokens") {
  const Case of{64, 1, 8, 2, "1f1b", {}, 2};
  const Plan plan = plan_of(of);
  Loads loads;
  loads.model = plan.model.name;
  loads.ep = 8;
  loads.dp = plan.layout.dp;
  loads.microbatches = plan.schedule.microbatches;
  loads.layers = {1, 2, 3};
  loads.ranks = 64;
  const auto rows_of = [&](double rows) {
    loads.row_counts.assign(std::size_t{3} * 64 * static_cast<std::size_t>(loads.microbatches),
                            rows);
    Skew measured;
    measured.kind = SkewKind::kMeasured;
    measured.measured = &loads;
    return make_expert_rows(plan, measured)->rows(0, 1, 0);
  };
  CHECK(rows_of(4096.0 / 2 / 2 * 8) == std::vector<double>(8, 1.0));
  CHECK_THROWS_AS(rows_of(4096.0 / 2 / 2 / 2 * 8), InputError);
}

// The rows of every GPU written down and read as measured: every GPU then does the same as where
// they were drawn, and a few representatives come as near.
TEST_CASE("measured loads give every GPU its own rows") {
  const PublishedPlan published;
  const Case of{64, 2, 8, 2, "1f1b", {SkewKind::kIid, 0, 1024, 3}};
  const Plan plan = plan_of(of);
  const CalibratedCost costs(published.calibration, plan.cluster);
  const Program program = lower(plan);
  Loads loads;
  loads.model = plan.model.name;
  loads.pp = 2;
  loads.ep = 8;
  loads.dp = plan.layout.dp;
  loads.microbatches = plan.schedule.microbatches;
  loads.layers = {1, 2, 3};
  loads.ranks = 32;
  const std::unique_ptr<ExpertRows> drawn = make_expert_rows(plan, of.skew);
  const double even = 4096.0 / 2 * 8;
  // Two pipeline ranks of two groups of eight experts' places, each place two tensor-parallel GPUs.
  const auto pipeline_rank = [&](int layer) {
    for (std::size_t stage = 0; stage < plan.layout.stage_map.size(); ++stage) {
      for (int entry = 0; entry < static_cast<int>(plan.layout.stage_map[stage].size()); ++entry) {
        const Stage of_layer{static_cast<std::int64_t>(stage)};
        if (model_layer(plan.layout, plan.model, of_layer, entry) == layer)
          return plan.schedule.host(of_layer, 0).rank.value;
      }
    }
    return -1;
  };
  const int groups = 32 / 8;
  for (int microbatch = 0; microbatch < loads.microbatches; ++microbatch) {
    for (int layer : loads.layers) {
      for (int gpu = 0; gpu < loads.ranks; ++gpu) {
        const int group =
            pipeline_rank(layer) * groups + group_key(GroupKind::kExpert, plan.layout, gpu);
        const int position = gpu_place(plan.layout, gpu).expert;
        loads.row_counts.push_back(
            even * drawn->rows(microbatch, layer, group)[static_cast<std::size_t>(position)]);
      }
    }
  }
  Skew measured;
  measured.kind = SkewKind::kMeasured;
  measured.measured = &loads;
  const double full =
      run_cluster(plan, program, costs, Grouping::kNone, {}, of.skew).classes.step.value();
  CHECK(run_cluster(plan, program, costs, Grouping::kNone, {}, measured).classes.step.value() ==
        Approx(full).epsilon(1e-9));
  CHECK(run_cluster(plan, program, costs, Grouping::kFolded, {}, measured).classes.step.value() ==
        Approx(full).epsilon(0.02));
  CHECK(full > run_cluster(plan, program, costs).classes.step.value());

  loads.layers = {1, 2, 7};
  CHECK_THROWS_WITH(run_cluster(plan, program, costs, Grouping::kNone, {}, measured),
                    Catch::Contains("the loads say nothing of the MoE layer 3"));
  loads.layers = {1, 2, 3};
  for (double& rows : loads.row_counts) rows /= 2;
  CHECK_THROWS_WITH(
      run_cluster(plan, program, costs, Grouping::kFolded, {}, measured),
      Catch::Contains("add up to 65536 rows, but their tokens choose 131072 experts"));
  loads.ep = 4;
  CHECK_THROWS_WITH(run_cluster(plan, program, costs, Grouping::kFolded, {}, measured),
                    Catch::Contains("the loads are of"));
}

TEST_CASE("experts placed by how much they are wanted shorten a step with Zipf loads") {
  const PublishedPlan published;
  const Case of{64, 2, 32, 1, "zb-h1", {SkewKind::kZipf, 0.5, 0, 3}};
  const Plan plan = plan_of(of);
  const CalibratedCost costs(published.calibration, plan.cluster);
  const Program program = lower(plan);
  const auto step = [&](bool balanced, int spare) {
    Skew skew = of.skew;
    skew.balanced = balanced;
    skew.spare = spare;
    const ClusterStep full = run_cluster(plan, program, costs, Grouping::kNone, {}, skew);
    const ClusterStep folded = run_cluster(plan, program, costs, Grouping::kFolded, {}, skew);
    CHECK(folded.classes.step / full.classes.step == Approx(1).epsilon(0.02));
    return full.classes.step.value();
  };
  const double in_order = step(false, 0), balanced = step(true, 0), copied = step(true, 1);
  WARN(fmt::format("Zipf 0.5: {:.4f} s in order, {:.4f} s balanced, {:.4f} s with a copy a GPU",
                   in_order, balanced, copied));
  CHECK(balanced < in_order);
  CHECK(copied < balanced);
}

// One expert a GPU: its matrix products are not grouped, and still as long as its rows ask for. As
// many experts a token as tensor-parallel GPUs: the shared experts have as many rows, and stay.
TEST_CASE("uneven rows stretch routed experts and nothing else") {
  const PublishedPlan published;
  for (const Case& of : {Case{256, 1, 256, 1, "1f1b", {SkewKind::kZipf, 0.5, 0, 3}},
                         Case{64, 1, 8, 8, "1f1b", {SkewKind::kIid, 0, 1024, 3}}}) {
    const Plan plan = plan_of(of);
    const CalibratedCost costs(published.calibration, plan.cluster);
    const Program program = lower(plan);
    const ClusterStep even = run_cluster(plan, program, costs);
    const ClusterStep uneven = run_cluster(plan, program, costs, Grouping::kFolded, {}, of.skew);
    CHECK(uneven.classes.step > even.classes.step);
    CHECK(uneven.straggler_wait.value() > 0);
    int routed = 0, shared = 0;
    for (const Work& work : program.works) {
      const Work twice = with_rows(work, 2);
      for (std::size_t at = 0; at < work.ops.size(); ++at) {
        const Op& op = work.ops[at];
        const bool wanted = op.name.find("routed") != std::string::npos;
        const bool is_shared = op.name.find("shared") != std::string::npos;
        const bool matmul = op.flops.value() > 0;
        if (matmul && wanted) CHECK(twice.ops[at].flops == op.flops * 2);
        if (is_shared) CHECK(twice.ops[at] == op);
        routed += matmul && wanted;
        shared += matmul && is_shared;
      }
    }
    CHECK(routed > 0);
    CHECK(shared > 0);
  }
}

}  // namespace orrery
