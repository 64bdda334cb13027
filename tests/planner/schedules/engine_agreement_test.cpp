// A schedule's time by its cells against the SimGrid engine's for the Program lowered from it, on a
// cluster where nothing contends and messages take their latency and no more.
#include <algorithm>
#include <catch2/catch.hpp>

#include "planner/plan_cells.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/search.hpp"
#include "planner/schedules/timing.hpp"
#include "sim/analytic.hpp"
#include "sim/cluster_step.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

constexpr double kHop = 0.05;

// Each kind of work takes a time of its own; every message takes the hop.
class OwnTimes : public CostSource {
 public:
  ComputeCost compute(const Work& work, int) const override {
    double sum = 0;
    for (const char letter : work.name) sum += static_cast<unsigned char>(letter) % 17;
    return {Seconds{0.1 + sum / 1000}, {}};
  }
  TransferCost transfer(const Work&, bool, int) const override {
    return {Seconds{kHop}, BytesPerSecond{1e30}, BytesPerSecond{1e30}};
  }
  AssumedFigures assumed(const Program&) const override { return {}; }
};

// F, I and W of every stage, as the engine carries them out.
CellTimes cell_times(const Plan& plan, const Program& program, const CostSource& costs) {
  CellTimes times = uniform_times(plan.schedule, {}, Seconds{kHop});
  for (const Instruction& instruction : program.instructions) {
    const Work& work = program.work(instruction);
    if (instruction.stream != Stream::kCompute || !instruction.stage.valid()) continue;
    const Schedule::Range range = plan.schedule.microbatches_of(instruction.direction);
    if (instruction.microbatch.value != range.first) continue;
    StageTimes& stage =
        times.stages[static_cast<std::size_t>(instruction.direction)][instruction.stage.index()];
    const Seconds time = costs.compute(work, 0).total();
    (work.pass == Pass::kF ? stage.F : work.pass == Pass::kI ? stage.I : stage.W) += time;
  }
  for (auto& stages : times.stages) {
    for (StageTimes& stage : stages) stage = without_overlap(stage.F, stage.I, stage.W);
  }
  // Without exchanges there is nothing to overlap: a pair is its halves one after the other.
  for (const auto& chunks : plan.schedule.chunks) {
    auto& pairs = times.rank_pairs.emplace_back();
    for (const ChunkPlace& forward : chunks) {
      auto& row = pairs.emplace_back();
      for (const ChunkPlace& backward : chunks)
        row.push_back(times.at(forward).F + times.at(backward).I + times.at(backward).W);
    }
  }
  return times;
}

Seconds last_cell(const Program& program, const Timeline& timeline) {
  Seconds last;
  for (const Instruction& instruction : program.instructions) {
    if (instruction.stream != Stream::kCompute || !instruction.stage.valid()) continue;
    if (program.work(instruction).component == Component::kOptimizer) continue;
    last = std::max(last, timeline.at(instruction.id).end);
  }
  return last;
}

Plan plan_with(const char* family, int pp, int microbatches, int vpp) {
  PlanShape shape{small_mla_moe(), family, microbatches, sizes(pp, 1)};
  shape.layout.vpp = vpp;
  shape.layout.recompute = Recompute::kNone;
  Plan plan = plan_of(shape);
  plan.cluster.nvlink.bandwidth = plan.cluster.nic.bandwidth = BytesPerSecond{1e30};
  return plan;
}

TEST_CASE("schedules of F, I and W take the time that SimGrid says, to 1e-9") {
  struct Case {
    const char* family;
    int pp, microbatches, vpp;
  };
  const OwnTimes costs;
  for (const auto& [family, pp, microbatches, vpp] :
       {Case{"zb-h1", 4, 9, 1}, Case{"zb-h2", 8, 16, 1}, Case{"zb-auto", 4, 8, 1},
        Case{"zb-v", 4, 8, 2}, Case{"v-half", 4, 6, 2}, Case{"v-min", 2, 5, 2}}) {
    const Plan plan = plan_with(family, pp, microbatches, vpp);
    const Program program = lower(plan);
    const CellTimes times = cell_times(plan, program, costs);
    const double expected = time_schedule(plan.schedule, times).makespan.value();
    const Timeline simgrid = run_folded(plan, program, costs);
    CAPTURE(family, pp, microbatches);
    CHECK(expected > 1);
    CHECK_THAT(last_cell(program, simgrid).value(), Catch::WithinRel(expected, 1e-9));
    const Timeline analytic = run_analytic(program, costs, plan.layout.gpus());
    CHECK_THAT(last_cell(program, analytic).value(), Catch::WithinRel(expected, 1e-9));
  }
}

// Full backwards hand their gradient on before their end, and so do both halves of pairs.
TEST_CASE("schedules with full backwards and pairs take the time that SimGrid says, to 1e-9") {
  struct Case {
    const char* family;
    int pp, microbatches, vpp;
  };
  const OwnTimes costs;
  for (const auto& [family, pp, microbatches, vpp] :
       {Case{"1f1b", 4, 9, 1}, Case{"gpipe", 4, 6, 1}, Case{"1f1b-eager", 8, 16, 1},
        Case{"interleaved", 4, 8, 2}, Case{"chimera", 4, 4, 1}, Case{"dualpipe", 4, 12, 1},
        Case{"dualpipe", 8, 20, 1}, Case{"dualpipev", 4, 10, 2},
        Case{"interleaved-overlap", 4, 8, 2}}) {
    const Plan plan = plan_with(family, pp, microbatches, vpp);
    const Program program = lower(plan);
    const CellTimes times = plan_cell_times(plan, costs);
    const double expected = time_schedule(plan.schedule, times).makespan.value();
    const Timeline simgrid = run_folded(plan, program, costs);
    CAPTURE(family, pp, microbatches);
    CHECK(expected > 1);
    CHECK_THAT(last_cell(program, simgrid).value(), Catch::WithinRel(expected, 1e-9));
  }
}

// With the collectives of ZeRO beside the layers of their cells.
TEST_CASE("schedules with ZeRO-2 and 3 take the time that SimGrid says, to 1e-9") {
  struct Case {
    const char* family;
    int pp, microbatches, vpp;
  };
  const OwnTimes costs;
  for (const auto& [family, pp, microbatches, vpp] :
       {Case{"1f1b", 4, 9, 1}, Case{"gpipe", 4, 6, 1}, Case{"zb-h1", 4, 9, 1},
        Case{"zb-v", 4, 8, 2}, Case{"interleaved", 4, 8, 2}, Case{"dualpipev", 4, 10, 2}}) {
    for (const int stage : {2, 3}) {
      Plan plan = plan_with(family, pp, microbatches, vpp);
      plan.layout.dp = plan.layout.ep = 4;
      plan.layout.zero_stage = stage;
      plan.cluster.nodes = std::max(1, plan.layout.gpus() / 8);
      const Program program = lower(plan);
      const CellTimes times = plan_cell_times(plan, costs);
      const double expected = time_schedule(plan.schedule, times).makespan.value();
      const Timeline simgrid = run_folded(plan, program, costs);
      Seconds last;
      for (const Instruction& instruction : program.instructions) {
        if (instruction.cell >= 0) last = std::max(last, simgrid.at(instruction.id).end);
      }
      CAPTURE(family, pp, microbatches, stage);
      CHECK_THAT(last.value(), Catch::WithinRel(expected, 1e-9));
    }
  }
}

TEST_CASE("a searched schedule of uneven stages takes the time that SimGrid says, to 1e-9") {
  const OwnTimes costs;
  Plan plan = plan_with("v-min", 4, 8, 2);
  ScheduleSearchRequest request;
  request.starts.push_back(plan.schedule);
  request.times = cell_times(plan, lower(plan), costs);
  request.limits.assign(4, 8);
  request.effort = 20'000;
  const ScheduleSearchResult result = search_schedule(request);
  CHECK(result.makespan < result.best_start);
  plan.schedule = result.schedule;
  // Nothing is gained by pairs here, whose outputs would leave them early in the engine.
  for (const auto& cells : plan.schedule.ranks) {
    for (const Cell& cell : cells) REQUIRE(cell.kind != CellKind::kFB);
  }
  const Program program = lower(plan);
  const Timeline simgrid = run_folded(plan, program, costs);
  CHECK_THAT(last_cell(program, simgrid).value(), Catch::WithinRel(result.makespan, 1e-9));
}

}  // namespace
}  // namespace orrery
