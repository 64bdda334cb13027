#include "realrun/replay.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "tests/realrun/replay_examples.hpp"

namespace orrery {
namespace {

Seconds worst_difference(const std::vector<Span>& a, const std::vector<Span>& b) {
  REQUIRE(a.size() == b.size());
  Seconds worst;
  for (std::size_t at = 0; at < a.size(); ++at) {
    for (const Seconds off : {a[at].start - b[at].start, a[at].end - b[at].end})
      worst = std::max({worst, off, off * -1});
  }
  return worst;
}

TEST_CASE("a replay with the predicted times of all kernels is the prediction") {
  for (const Plan& plan : replayed_plans()) {
    const PredictedPlan predicted(plan);
    for (int rank : {0, plan.layout.pp / 2, plan.layout.pp - 1}) {
      CAPTURE(plan.model.name, plan.schedule.family, plan.layout.pp, rank);
      const ReplayScript script = predicted.script(rank);
      SimulatedDevice device = made_up_device();
      const ReplayedStep step = replay(device, script, Gates::kPredicted, Detail::kInstructions);
      CHECK(worst_difference(step.spans, predicted_spans(script, predicted.timeline)) <
            Seconds{1e-9} + 1e-9 * predicted.timeline.step);
    }
  }
}

TEST_CASE("so are pairs cut out of the step") {
  const PredictedPlan predicted(PublishedPlan().plan);
  for (int rank : {0, 3, 8, 15}) {
    for (int pairs : {1, 2, 5}) {
      CAPTURE(rank, pairs);
      const ReplayScript script = predicted.script(rank, pairs);
      SimulatedDevice device = made_up_device();
      const ReplayedStep step = replay(device, script, Gates::kPredicted, Detail::kInstructions);
      CHECK(worst_difference(step.spans, predicted_spans(script, predicted.timeline)) <
            Seconds{1e-9});
    }
  }
}

TEST_CASE("with all gates open a replay is no longer") {
  for (const Plan& plan : replayed_plans()) {
    const PredictedPlan predicted(plan);
    for (int rank = 0; rank < plan.layout.pp; ++rank) {
      CAPTURE(plan.model.name, plan.schedule.family, plan.layout.pp, rank);
      const ReplayScript script = predicted.script(rank);
      SimulatedDevice device = made_up_device();
      const ReplayedStep gated = replay(device, script, Gates::kPredicted, Detail::kInstructions);
      const ReplayedStep open = replay(device, script, Gates::kOpen, Detail::kInstructions);
      for (std::size_t at = 0; at < script.actions.size(); ++at) {
        if (open.spans[at].end > gated.spans[at].end + Seconds{1e-9}) FAIL("action " << at);
      }
    }
  }
}

// Without experts and pairs nothing of a rank runs beside its computation until gradients are
// reduced: with gates open it computes without a pause, and what the rank computes is a sum.
TEST_CASE("with all gates open the last rank of 1F1B computes without a pause") {
  const PredictedPlan predicted(PlanShape{small_dense(), "1f1b", 6, sizes(4, 1)});
  const ReplayScript script = predicted.script(3);
  SimulatedDevice device = made_up_device();
  const ReplayedStep open = replay(device, script, Gates::kOpen, Detail::kInstructions);
  const ReplayedStep gated = replay(device, script, Gates::kPredicted, Detail::kInstructions);
  Seconds computing, last, gated_last;
  for (std::size_t at = 0; at < script.actions.size(); ++at) {
    const ReplayAction& action = script.actions[at];
    if (action.stream != Stream::kCompute || action.cell < 0) continue;
    for (const KernelCall& call : action.kernels)
      computing += made_up_time(*call.op, call.lent_sms);
    last = std::max(last, open.spans[at].end);
    gated_last = std::max(gated_last, gated.spans[at].end);
  }
  CHECK(last.value() == Approx(computing.value()));
  CHECK(gated_last > 1.1 * last);  // it waits for the first activation at least
}

// Ready 10 % later, everything local gets its messages later; what depends on nothing local comes
// when it was predicted to.
TEST_CASE("on a slower device what depends on its work comes later") {
  const PredictedPlan predicted(PlanShape{small_mla_moe(), "dualpipe", 10, sizes(4, 4, 4)});
  for (int rank = 0; rank < 4; ++rank) {
    CAPTURE(rank);
    const ReplayScript script = predicted.script(rank);
    SimulatedDevice device = made_up_device(), slow = made_up_device(1.1);
    const ReplayedStep as_predicted =
        replay(device, script, Gates::kPredicted, Detail::kInstructions);
    const ReplayedStep slower = replay(slow, script, Gates::kPredicted, Detail::kInstructions);
    int from_start = 0, from_local = 0;
    for (std::size_t at = 0; at < script.actions.size(); ++at) {
      const ReplayAction& action = script.actions[at];
      if (!action.arrives) continue;
      if (action.gate->after) {
        ++from_local;
        // Not before the gate, which opens so long after its own cause.
        CHECK(slower.spans[at].start.value() >=
              Approx((slower.spans[*action.gate->after].end + action.gate->delay).value()));
        CHECK(slower.spans[at].end > as_predicted.spans[at].end);
      } else {
        ++from_start;
        CHECK(slower.spans[at].end.value() == Approx(as_predicted.spans[at].end.value()));
      }
    }
    CHECK(from_local > 0);
    // Of each micro-batch an activation or a gradient from either side; an end of the pipeline has
    // one side.
    CHECK(from_start + from_local == (rank == 0 || rank == 3 ? 10 : 20));
  }
}

// Exchanges that take twice as long hold up only what depends on them.
TEST_CASE("slower communication delays only what depends on it") {
  const PredictedPlan predicted(PublishedPlan().plan);
  ReplayScript script = predicted.script(5, 2);
  SimulatedDevice device = made_up_device();
  const ReplayedStep before = replay(device, script, Gates::kOpen, Detail::kInstructions);
  std::vector<char> depends(script.actions.size());
  std::array<char, kStreams> tail{};
  int exchanges = 0;
  for (std::size_t at = 0; at < script.actions.size(); ++at) {
    ReplayAction& action = script.actions[at];
    char& last = tail[static_cast<std::size_t>(action.stream)];
    if (action.copy) {
      action.copy->lasts = 2 * action.copy->lasts;
      ++exchanges;
    }
    depends[at] = last || action.copy;
    for (const std::size_t after : action.after) depends[at] |= depends[after];
    last = depends[at];
  }
  REQUIRE(exchanges == 2 * 4 * 4);  // pairs, layers, exchanges of a layer's forward and backward
  const ReplayedStep after = replay(device, script, Gates::kOpen, Detail::kInstructions);
  int alike = 0, later = 0;
  for (std::size_t at = 0; at < script.actions.size(); ++at) {
    if (!depends[at]) {
      ++alike;
      CHECK(after.spans[at] == before.spans[at]);
    } else if (after.spans[at].end > before.spans[at].end) {
      ++later;
    }
  }
  CHECK(alike > 0);
  CHECK(later >= exchanges);
}

TEST_CASE("ops add up to their instruction, and the median is one of the runs") {
  const PredictedPlan predicted(PublishedPlan().plan);
  const ReplayScript script = predicted.script(3, 1);
  // Every run a tenth slower than the one before: 1 warms up, 3 are kept, twice; then the ops.
  int run = 0;
  std::size_t calls = 0, launched = 0;
  for (const ReplayAction& action : script.actions) calls += action.kernels.size();
  SimulatedDevice device("slower and slower", [&](const KernelCall& call) {
    if (launched++ % calls == 0) ++run;
    return (1 + 0.1 * run) * made_up_time(*call.op, call.lent_sms);
  });
  const MeasuredReplay measured = measure_replay(device, script, {1, 3});
  CHECK(run == 9);
  REQUIRE(measured.gated_lengths.size() == 3);
  REQUIRE(measured.open_lengths.size() == 3);
  CHECK(measured.gated_lengths[0] < measured.gated_lengths[1]);
  CHECK(measured.gated.length() == measured.gated_lengths[1]);
  CHECK(measured.open.length() == measured.open_lengths[1]);
  REQUIRE(measured.detailed.ops.size() == script.actions.size());
  for (std::size_t at = 0; at < script.actions.size(); ++at) {
    const ReplayAction& action = script.actions[at];
    REQUIRE(measured.detailed.ops[at].size() == action.kernels.size());
    for (std::size_t op = 0; op < action.kernels.size(); ++op) {
      const KernelCall& call = action.kernels[op];
      CHECK(measured.detailed.ops[at][op].value() ==
            Approx(1.9 * made_up_time(*call.op, call.lent_sms).value()));
    }
  }
}

TEST_CASE("what was not recorded is not waited for") {
  SimulatedDevice device = made_up_device();
  device.begin(2);
  CHECK_THROWS_AS(device.wait(Stream::kComm, 1), Bug);
  device.record(Stream::kCompute, 0, MarkUse::kTime);
  CHECK_THROWS_AS(device.wait_until(Stream::kComm, 0, microseconds(1)), Bug);
  CHECK_THROWS_AS(device.record(Stream::kCompute, 0, MarkUse::kTime), Bug);
}

}  // namespace
}  // namespace orrery
