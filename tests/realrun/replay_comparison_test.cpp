#include "realrun/replay_comparison.hpp"

#include <catch2/catch.hpp>

#include "kernels/replay_launch.hpp"
#include "tests/realrun/replay_examples.hpp"

namespace orrery {
namespace {

ReplayRecord replayed(const PredictedPlan& predicted, int rank, int pairs, double slower,
                      const CostSource& costs = MadeUpCosts{}) {
  SimulatedDevice device = made_up_device(slower);
  const ReplayScript script = predicted.script(rank, pairs);
  return replay_record(predicted.plan, predicted.program, script,
                       measure_replay(device, script, {0, 1}), device, costs, "made-up");
}

TEST_CASE("a replay that runs as predicted has no error anywhere") {
  const PredictedPlan predicted(PublishedPlan().plan);
  for (const int pairs : {0, 3}) {
    CAPTURE(pairs);
    const ReplayComparison comparison =
        compare_replay(predicted.program, predicted.timeline, replayed(predicted, 3, pairs, 1));
    CHECK(comparison.all.error() == Approx(0).margin(1e-9));
    CHECK(comparison.computing.error() == Approx(0).margin(1e-9));
    CHECK(comparison.ops_off == Approx(0).margin(1e-9));
    CHECK(comparison.all.open <= comparison.all.measured);
    for (const ReplayedPair& pair : comparison.pairs)
      CHECK(pair.times.error() == Approx(0).margin(1e-9));
    for (const ReplayedWork& work : comparison.works)
      CHECK(work.times.predicted.value() == Approx(work.times.measured.value()));
  }
}

TEST_CASE("pairs are named with their cells and layers") {
  const PredictedPlan predicted(PublishedPlan().plan);
  const ReplayComparison comparison =
      compare_replay(predicted.program, predicted.timeline, replayed(predicted, 3, 2, 1));
  const PairRun run = longest_pair_run(predicted.plan.schedule, Rank(3));
  REQUIRE(comparison.pairs.size() == 2);
  CHECK(comparison.pairs[0].cell == run.first + (run.count - 2) / 2);
  CHECK(comparison.pairs[1].cell == comparison.pairs[0].cell + 1);
  for (const ReplayedPair& pair : comparison.pairs) {
    CHECK(pair.only_moe);
    CHECK(pair.forward_moe == 4);
    CHECK(pair.backward_moe == 4);
  }
  // Rank 0 has the first stage, E,3d,1t, and the last, 1t,m,L.
  const ReplayComparison ends =
      compare_replay(predicted.program, predicted.timeline, replayed(predicted, 0, 1, 1));
  REQUIRE(ends.pairs.size() == 1);
  CHECK_FALSE(ends.pairs[0].only_moe);
  CHECK(ends.pairs[0].forward_moe == 1);
}

// A fifth slower, all computation takes 1.2 times as long; of a pair, in which it outlasts the
// exchanges, so does the whole.
TEST_CASE("slower kernels show in every row of computation and in none of communication") {
  const PredictedPlan predicted(PublishedPlan().plan);
  const ReplayComparison comparison =
      compare_replay(predicted.program, predicted.timeline, replayed(predicted, 3, 2, 1.2));
  CHECK(comparison.computing.error() == Approx(1 / 1.2 - 1));
  for (const ReplayedWork& work : comparison.works) {
    CAPTURE(work.name);
    CHECK(work.times.error() == Approx(work.computes ? 1 / 1.2 - 1 : 0).margin(1e-9));
  }
  CHECK(comparison.works.front().computes);
  Seconds before{1e9};
  for (const MeasuredOp& op : comparison.ops) {
    const Seconds difference = op.measured - op.predicted;
    CHECK(difference <= before + Seconds{2e-9});
    before = difference;
  }
  CHECK(comparison.all.open < 1.21 * comparison.all.predicted);
}

TEST_CASE("op times of another calibration than the prediction's are noticed") {
  class Half : public MadeUpCosts {
   public:
    ComputeCost compute(const Work& work, int lent_sms) const override {
      const ComputeCost cost = MadeUpCosts::compute(work, lent_sms);
      return {0.5 * cost.busy, {}};
    }
  };
  const PredictedPlan predicted(PublishedPlan().plan);
  const ReplayComparison comparison =
      compare_replay(predicted.program, predicted.timeline, replayed(predicted, 3, 1, 1, Half{}));
  CHECK(comparison.ops_off == Approx(-0.5));
}

// By the kernels of the H800; of a pair of four layers, what the replay has kernels of its own for
// is nine tenths of the time.
TEST_CASE("every op of DeepSeek-V3's step has a kernel, or something that stands in") {
  const PublishedPlan published;
  const CalibratedCost costs = published.costs();
  const Program program = lower(published.plan);
  Seconds all, own;
  for (const Instruction& instruction : program.instructions) {
    const Work& work = program.work(instruction);
    if (instruction.rank != Rank(3) || instruction.cell < 0 || !work.is_compute()) continue;
    for (const Op& op : work.ops) {
      const ReplayLaunch launch = replay_launch(op);
      const Seconds time = costs.op_time(op, 112);
      all += time;
      if (launch.stand_in.empty() || launch.kind != LaunchKind::kCopy) own += time;
    }
  }
  CHECK(own / all > 0.85);
  CHECK(own / all < 1);
}

}  // namespace
}  // namespace orrery
