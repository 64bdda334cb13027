// Both engines on programs small enough to be timed by hand, and against each other on real ones.
#include <catch2/catch.hpp>
#include <cmath>

#include "core/error.hpp"
#include "sim/analytic.hpp"
#include "sim/chunk_pair.hpp"
#include "sim/cluster_step.hpp"
#include "sim/simgrid_engine.hpp"
#include "tests/planner/published_plan.hpp"
#include "tests/sim/hand_made.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

using Engine = Timeline (*)(const Program&, const CostSource&);

Timeline analytic(const Program& program, const CostSource& costs) {
  return run_analytic(program, costs, program.pp);
}
Timeline folded(const Program& program, const CostSource& costs) {
  const HandFlows flows(program);
  Timeline timeline = run_simgrid({program, flows.exchange_of, flows.plan}, costs);
  timeline.source = "folded";
  return timeline;
}

void check_span(const Timeline& timeline, InstructionId id, double start, double end) {
  CAPTURE(timeline.source, id.value);
  CHECK(timeline.at(id).start.value() == Approx(start).margin(1e-9));
  CHECK(timeline.at(id).end.value() == Approx(end).margin(1e-9));
}

// Rank 0 computes 3 s, sends 20 B at 10 B/s (2 s), and computes on (1 s) meanwhile; rank 1 waits
// for it.
TEST_CASE("a transfer runs beside computation and its receiver waits for it") {
  const Engine engine = GENERATE(Engine{analytic}, Engine{folded});
  ProgramMaker make(2);
  const InstructionId first = make.compute(0, 3);
  const auto [send, recv] = make.send(0, 20, {first});
  const InstructionId second = make.compute(0, 1);
  const InstructionId after = make.compute(1, 4, {recv});
  const Timeline timeline = engine(make.program, HandCost());
  check_span(timeline, first, 0, 3);
  check_span(timeline, send, 3, 5);
  check_span(timeline, recv, 3, 5);
  check_span(timeline, second, 3, 4);
  check_span(timeline, after, 5, 9);
  CHECK(timeline.step.value() == Approx(9));
}

// 30 B over the NIC at 10 B/s take 3 s, 200 B over NVLink at 100 B/s 2 s, at once and after 0.5 s
// of fixed time.
TEST_CASE("an exchange ends when its slower medium has ended, after the fixed part") {
  const Engine engine = GENERATE(Engine{analytic}, Engine{folded});
  ProgramMaker make(1);
  const InstructionId exchange = make.exchange(0, 30, 200);
  const InstructionId next = make.compute(0, 1, {exchange});
  const Timeline timeline =
      engine(make.program, HandCost(BytesPerSecond{10}, BytesPerSecond{100}, Seconds{0.5}));
  check_span(timeline, exchange, 0, 3.5);
  check_span(timeline, next, 3.5, 4.5);
}

// An exchange (60 B) and a transfer (20 B) leave rank 0 by the same NIC of 10 B/s: 5 B/s each until
// the transfer has ended (4 s); then the exchange has 40 B left at 10 B/s, ending at 8 s. Without
// contention: 6 s and 2 s.
TEST_CASE("flows share a NIC by max-min fairness on SimGrid and not in the analytic engine") {
  ProgramMaker make(2);
  const InstructionId exchange = make.exchange(0, 60, 0);
  const auto [send, recv] = make.send(0, 20);
  const Timeline shared = folded(make.program, HandCost());
  check_span(shared, exchange, 0, 8);
  check_span(shared, send, 0, 4);
  const Timeline alone = analytic(make.program, HandCost());
  check_span(alone, exchange, 0, 6);
  check_span(alone, send, 0, 2);
}

// A flow limited to 2 B/s leaves 8 of the NIC's 10 B/s to the other: 60 B in 7.5 s.
TEST_CASE("what a limited flow leaves free goes to the others") {
  class Limited : public HandCost {
   public:
    TransferCost transfer(const Work& work, bool beside, int lent_sms) const override {
      TransferCost cost = HandCost::transfer(work, beside, lent_sms);
      if (work.wire.pattern == Pattern::kSend) cost.nic_limit = BytesPerSecond{2};
      return cost;
    }
  };
  ProgramMaker make(2);
  const InstructionId exchange = make.exchange(0, 60, 0);
  const auto [send, recv] = make.send(0, 20);
  const Timeline timeline = folded(make.program, Limited());
  check_span(timeline, exchange, 0, 7.5);
  check_span(timeline, send, 0, 10);
}

TEST_CASE("members of a collective start together when the last is ready") {
  const Engine engine = GENERATE(Engine{analytic}, Engine{folded});
  ProgramMaker make(2);
  const InstructionId slow = make.compute(1, 5);
  const InstructionId a = make.exchange(0, 10, 0, {}, Pattern::kReduceScatter);
  const InstructionId b = make.exchange(1, 10, 0, {slow}, Pattern::kReduceScatter);
  make.collective({a, b});
  const Timeline timeline = engine(make.program, HandCost());
  check_span(timeline, a, 5, 6);
  check_span(timeline, b, 5, 6);
}

TEST_CASE("a program that waits for itself is reported with who waits for whom") {
  const Engine engine = GENERATE(Engine{analytic}, Engine{folded});
  ProgramMaker make(2);
  const InstructionId first = make.compute(0, 1);
  const InstructionId second = make.compute(1, 1, {first});
  make.program.deps.push_back(second);  // and the first waits for the second
  make.program.instructions[first.index()].first_dep =
      static_cast<std::uint32_t>(make.program.deps.size()) - 1;
  make.program.instructions[first.index()].last_dep =
      static_cast<std::uint32_t>(make.program.deps.size());
  CHECK_THROWS_WITH(engine(make.program, HandCost()),
                    Catch::Contains("deadlock") && Catch::Contains("rank 0: compute") &&
                        Catch::Contains("waits for rank 1: compute"));
}

PublishedPlan published_with(int pp, int ep, const char* schedule, int global_batch) {
  PublishedPlan published;
  published.request.layout.pp = pp;
  published.request.layout.ep = ep;
  published.request.schedule = schedule;
  published.request.training.global_batch = global_batch;
  published.plan = build_plan(published.request, published.costs());
  return published;
}

double largest_difference(const Timeline& a, const Timeline& b) {
  double most = 0;
  for (std::size_t span = 0; span < a.spans.size(); ++span) {
    most = std::max({most, std::abs(a.spans[span].start.value() - b.spans[span].start.value()),
                     std::abs(a.spans[span].end.value() - b.spans[span].end.value())});
  }
  return most;
}

// SimGrid rounds flows to whole bytes: at 24 GB/s a byte is 0.04 ns.
TEST_CASE("an uncontended chunk pair takes the same on SimGrid and in the analytic evaluation") {
  const PublishedPlan published;
  const CalibratedCost costs = published.costs();
  const std::vector<LayerKind> entries(4, LayerKind::kMoe);
  const Program program = chunk_pair_program(published.plan, entries);
  const Timeline reference = run_analytic(program, costs, 2048);
  const Timeline simulated = run_folded(chunk_pair_plan(published.plan, entries), program, costs);
  CHECK(largest_difference(reference, simulated) < 1e-9 * reference.step.value() + 10e-9);
}

TEST_CASE("with links that nobody fills a whole step takes the same in both engines") {
  const PublishedPlan published = published_with(16, 64, "dualpipe", 32 * 128);
  const CalibratedCost costs = published.costs();
  const Program program = lower(published.plan);
  const Timeline reference = run_analytic(program, costs, 2048);
  // Flows keep their own limits; the links they share are a thousand times as wide.
  Plan wide = published.plan;
  wide.cluster.nic.bandwidth *= 1000;
  wide.cluster.nvlink.bandwidth *= 1000;
  const Timeline simulated = run_folded(wide, program, costs);
  CAPTURE(reference.step.value());
  CHECK(largest_difference(reference, simulated) < 1e-9 * reference.step.value() + 1e-6);
  CHECK(simulated.step.value() == Approx(reference.step.value()).epsilon(1e-9));
}

TEST_CASE("contention only ever lengthens a step and every instruction runs once") {
  const PublishedPlan published = published_with(16, 64, "1f1b", 32 * 128);
  const CalibratedCost costs = published.costs();
  const Program program = lower(published.plan);
  const Timeline reference = run_analytic(program, costs, 2048);
  const Timeline simulated = run_folded(published.plan, program, costs);
  CHECK(simulated.step >= reference.step * (1 - 1e-12));
  for (const Span& span : simulated.spans) REQUIRE(span.end >= span.start);
  for (const Instruction& instruction : program.instructions) {
    for (InstructionId before : program.deps_of(instruction)) {
      REQUIRE(simulated.at(instruction.id).start >= simulated.at(before).end - Seconds{1e-12});
    }
  }
}

TEST_CASE("the same simulation gives the same times again") {
  const PublishedPlan published = published_with(8, 64, "1f1b", 16 * 256);
  const CalibratedCost costs = published.costs();
  const Program program = lower(published.plan);
  const Timeline first = run_folded(published.plan, program, costs);
  const Timeline second = run_folded(published.plan, program, costs);
  // The clock of a process goes on from one simulation to the next: equal up to its rounding.
  CHECK(largest_difference(first, second) < 1e-9 * first.step.value());
}

}  // namespace
}  // namespace orrery
