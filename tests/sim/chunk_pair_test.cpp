// The pair of two chunks of four MoE layers against DeepSeek's public training trace (wall 129.0
// ms, compute busy 124.3, compute idle 4.7, slots 29.9, 31.3, 32.6, 35.2 ms). The trace's waits for
// other GPUs are not modelled here.
#include "sim/chunk_pair.hpp"

#include <catch2/catch.hpp>

#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "planner/plan_builder.hpp"
#include "sim/scaled_cost.hpp"

namespace orrery {
namespace {

struct Setup {
  Setup() {
    PlanRequest request;
    request.model = read_model("models/deepseek-v3.toml");
    request.cluster = read_cluster("topologies/h800-2048.toml");
    calibration = read_calibration("calibration/h800.toml");
    request.training.global_batch = 15360;
    request.layout.pp = 16;
    request.layout.ep = 64;
    request.layout.dp = 0;
    request.schedule = "dualpipe";
    plan = build_plan(request, CalibratedCost(calibration, request.cluster));
  }
  ChunkPair pair(double communication) const {
    const CalibratedCost costs(calibration, plan.cluster);
    return simulate_chunk_pair(plan, std::vector<LayerKind>(4, LayerKind::kMoe),
                               ScaledExchangeCost(costs, communication));
  }
  Calibration calibration;
  Plan plan;
};

TEST_CASE("the chunk pair of the published trace is predicted within 5 percent") {
  const ChunkPair pair = Setup().pair(1);
  const double wall = in_milliseconds(pair.wall);
  WARN("chunk pair: wall " << wall << " ms (" << 100 * (wall / 129.0 - 1) << " %), busy "
                           << in_milliseconds(pair.compute_busy) << " ms ("
                           << 100 * (in_milliseconds(pair.compute_busy) / 124.3 - 1) << " %), idle "
                           << in_milliseconds(pair.compute_idle()) << " ms (published 4.7)");
  CHECK(wall == Approx(129.0).epsilon(0.05));
  CHECK(in_milliseconds(pair.compute_busy) == Approx(124.3).epsilon(0.02));
  const double slots[] = {29.9, 31.3, 32.6, 35.2};
  REQUIRE(pair.slots.size() == 4);
  for (std::size_t slot = 0; slot < 4; ++slot) {
    CAPTURE(slot);
    CHECK(in_milliseconds(pair.slots[slot]) == Approx(slots[slot]).epsilon(0.05));
  }
}

TEST_CASE("the parts of a pair add up and its slots cover it") {
  for (double factor : {0.0, 1.0, 1.6, 2.0}) {
    CAPTURE(factor);
    const ChunkPair pair = Setup().pair(factor);
    CHECK((pair.compute_busy + pair.gaps + pair.stalls).value() == Approx(pair.wall.value()));
    Seconds covered;
    for (Seconds slot : pair.slots) covered += slot;
    CHECK(covered.value() == Approx(pair.wall.value()));
    CHECK(pair.wall >= pair.comm_busy * (1 - 1e-12));
  }
}

// Communication hides under computation up to its own length: 81 ms of 127. Twice as long it
// cannot.
TEST_CASE("a pair lengthens when its communication doubles and hides it when it is free") {
  const Setup setup;
  const Seconds free = setup.pair(0).wall;
  const Seconds normal = setup.pair(1).wall;
  const Seconds longer = setup.pair(1.6).wall;
  const Seconds doubled = setup.pair(2).wall;
  CHECK(free <= normal);
  CHECK(normal <= longer);
  CHECK(longer < doubled);
  CHECK(doubled > 1.2 * normal);
}

}  // namespace
}  // namespace orrery
