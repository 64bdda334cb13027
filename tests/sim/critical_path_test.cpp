#include "sim/critical_path.hpp"

#include <catch2/catch.hpp>

#include "sim/analytic.hpp"
#include "tests/sim/hand_made_host.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

Seconds total(const std::vector<CriticalStep>& path) {
  Seconds sum;
  for (const CriticalStep& step : path) sum += step.waited + step.ran;
  return sum;
}

// Rank 0 computes 2 s, sends for 1 s; rank 1 has computed 1 s of its own meanwhile and computes 4 s
// with what it received. Its first second is not on the path.
TEST_CASE("the path goes back over a transfer to who decided") {
  ProgramMaker maker(2);
  const InstructionId first = maker.compute(0, 2);
  const InstructionId own = maker.compute(1, 1);
  const auto [send, receive] = maker.send(0, 10, {first});
  const InstructionId last = maker.compute(1, 4, {receive});
  const Timeline timeline = run_analytic(maker.program, HandCost(), 2);
  REQUIRE(timeline.step == Seconds{7});
  const auto path = critical_path(maker.program, timeline, 0);
  REQUIRE(path.size() == 3);
  CHECK(path[0].instruction == first);
  CHECK((path[1].instruction == send || path[1].instruction == receive));
  CHECK(path[2].instruction == last);
  CHECK(path[0].ran == Seconds{2});
  CHECK(path[1].ran == Seconds{1});
  CHECK(path[2].ran == Seconds{4});
  for (const CriticalStep& step : path) {
    CHECK(step.waited == Seconds{});
    CHECK(step.instruction != own);
  }
}

TEST_CASE("what nobody of the program accounts for is waiting") {
  ProgramMaker maker(1);
  maker.compute(0, 1);
  maker.compute(0, 1);
  Timeline timeline = run_analytic(maker.program, HandCost(), 1);
  timeline.spans[1] = {Seconds{3}, Seconds{4}};
  timeline.step = Seconds{4};
  const auto path = critical_path(maker.program, timeline, 0);
  REQUIRE(path.size() == 2);
  CHECK(path[1].waited == Seconds{2});
  CHECK(path[1].ran == Seconds{1});
}

// Three ranks on one core take turns: the path is all they computed, though no rank depends on
// another.
TEST_CASE("ranks that take turns on a core are on each other's path") {
  ProgramMaker maker(3);
  for (int rank = 0; rank < 3; ++rank) maker.compute(rank, 1 + rank);
  const Timeline timeline = run_by_hand(maker.program, machine_of(1));
  REQUIRE(timeline.step == Seconds{6});
  CHECK(critical_path(maker.program, timeline, 1).size() == 3);
  CHECK(total(critical_path(maker.program, timeline, 1)) == Seconds{6});
  CHECK(critical_path(maker.program, timeline, 0).size() == 1);
}

TEST_CASE("the shares of the path add up to the step, for every plan") {
  for (const PlanShape& shape : plan_shapes()) {
    const Plan plan = plan_of(shape);
    CAPTURE(plan.schedule.family, describe(plan.layout));
    const Program program = lower(plan);
    const Timeline timeline = run_analytic(program, HandCost(), plan.layout.gpus());
    CHECK(total(critical_path(program, timeline, 0)).value() ==
          Approx(timeline.step.value()).epsilon(1e-12));
  }
}

}  // namespace
}  // namespace orrery
