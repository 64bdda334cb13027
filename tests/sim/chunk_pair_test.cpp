// The pair of two chunks of four MoE layers against DeepSeek's public training trace (wall 129.0
// ms, compute busy 124.3, compute idle 4.7, slots 29.9, 31.3, 32.6, 35.2 ms). The trace's waits for
// other GPUs are not modelled here.
#include "sim/chunk_pair.hpp"

#include <catch2/catch.hpp>

#include "sim/scaled_cost.hpp"
#include "tests/planner/published_plan.hpp"

namespace orrery {
namespace {

ChunkPair pair_of(const PublishedPlan& published, double communication) {
  const CalibratedCost costs = published.costs();
  return simulate_chunk_pair(published.plan, std::vector<LayerKind>(4, LayerKind::kMoe),
                             ScaledExchangeCost(costs, communication));
}

TEST_CASE("the chunk pair of the published trace is predicted within 5 percent") {
  const ChunkPair pair = pair_of(PublishedPlan(), 1);
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
    const ChunkPair pair = pair_of(PublishedPlan(), factor);
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
  const PublishedPlan setup;
  const Seconds free = pair_of(setup, 0).wall;
  const Seconds normal = pair_of(setup, 1).wall;
  const Seconds longer = pair_of(setup, 1.6).wall;
  const Seconds doubled = pair_of(setup, 2).wall;
  CHECK(free <= normal);
  CHECK(normal <= longer);
  CHECK(longer < doubled);
  CHECK(doubled > 1.2 * normal);
}

}  // namespace
}  // namespace orrery
