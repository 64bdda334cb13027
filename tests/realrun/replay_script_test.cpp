#include "realrun/replay_script.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "core/error.hpp"
#include "tests/realrun/replay_examples.hpp"

namespace orrery {
namespace {

bool same(const ReplayAction& a, const ReplayAction& b) {
  const auto close = [](Seconds x, Seconds y) { return std::abs((x - y).value()) < 1e-9; };
  const auto gate = [&](const std::optional<ReplayGate>& x, const std::optional<ReplayGate>& y) {
    return x.has_value() == y.has_value() &&
           (!x || (x->after == y->after && close(x->delay, y->delay)));
  };
  return a.instruction == b.instruction && a.after == b.after && gate(a.gate, b.gate) &&
         close(a.lasts, b.lasts) && a.copy.has_value() == b.copy.has_value() &&
         (!a.copy || close(a.copy->lasts, b.copy->lasts));
}

TEST_CASE("a script does not know when anything was predicted to be") {
  for (const Plan& plan : replayed_plans()) {
    const PredictedPlan predicted(plan);
    const bool pairs = longest_pair_run(plan.schedule, Rank(1 % plan.layout.pp)).count > 0;
    const Rank rank(1 % plan.layout.pp);
    for (const int count : pairs ? std::vector<int>{0, 1} : std::vector<int>{0}) {
      CAPTURE(plan.model.name, plan.schedule.family, count);
      const ReplayScript script = predicted.script(rank.value, count);
      const ReplayScript later =
          replay_script(plan, predicted.program, predicted.shifted(Seconds{1000}), rank, count);
      CHECK((later.origin - script.origin).value() == Approx(1000));
      REQUIRE(later.actions.size() == script.actions.size());
      for (std::size_t at = 0; at < script.actions.size(); ++at) {
        if (!same(script.actions[at], later.actions[at])) FAIL("action " << at);
      }
    }
  }
}

TEST_CASE("everything is behind what it waits for, and each instruction is there once") {
  for (const Plan& plan : replayed_plans()) {
    const PredictedPlan predicted(plan);
    for (int rank = 0; rank < plan.layout.pp; ++rank) {
      CAPTURE(plan.model.name, plan.schedule.family, rank);
      const ReplayScript script = predicted.script(rank);
      std::map<Stream, std::vector<InstructionId>> streams;
      for (std::size_t at = 0; at < script.actions.size(); ++at) {
        const ReplayAction& action = script.actions[at];
        streams[action.stream].push_back(action.instruction);
        for (const std::size_t after : action.after) CHECK(after < at);
        if (!action.gate) continue;
        CHECK(action.gate->delay >= Seconds{});
        if (!action.gate->after) continue;
        CHECK(*action.gate->after < at);
        // A message is never what another waits for: a chain of gates would be a timetable.
        CHECK_FALSE(script.actions[*action.gate->after].arrives);
        // It really came before.
        const InstructionId cause = script.actions[*action.gate->after].instruction;
        CHECK(predicted.timeline.at(cause).end <=
              predicted.timeline.at(action.instruction).start + Seconds{1e-9});
      }
      for (int stream = 0; stream < kStreams; ++stream) {
        CHECK(streams[static_cast<Stream>(stream)] ==
              predicted.program
                  .streams[static_cast<std::size_t>(rank)][static_cast<std::size_t>(stream)]);
      }
    }
  }
}

// Step 4 of DualPipe, n(F0&B1)(F1&B0), with the counts of planner/schedules/dual_phases.cpp: 60
// micro-batches of each direction, half of 16 ranks, 3 hops from the end: n = 60 - 16 + 3 + 1 = 48,
// which are 96 pairs. Of these the 48th and the 49th lie in the middle.
TEST_CASE("pairs are cut out of the middle of the steady state") {
  const PredictedPlan predicted(PublishedPlan().plan);
  const PairRun run = longest_pair_run(predicted.plan.schedule, Rank(3));
  CHECK(run.count == 96);
  const ReplayScript script = predicted.script(3, 2);
  std::set<int> cells;
  int exchanges = 0, arrivals = 0, sent = 0, from_start = 0;
  std::set<int> layers;
  for (const ReplayAction& action : script.actions) {
    cells.insert(action.cell);
    exchanges += action.copy.has_value();
    arrivals += action.arrives;
    sent += action.stream == Stream::kSendNext || action.stream == Stream::kSendPrev;
    from_start += action.gate.has_value() && !action.gate->after;
    for (const KernelCall& call : action.kernels) layers.insert(call.layer);
  }
  CHECK(cells == std::set<int>{run.first + 47, run.first + 48});
  CHECK(exchanges == 2 * 4 * 4);
  CHECK(arrivals == 2 * 2);  // an activation and a gradient for each
  CHECK(sent == 2 * 2);
  CHECK(from_start <= arrivals);
  CHECK(layers == std::set<int>{0, 1, 2, 3, 4, 5, 6, 7});  // four of either stage
}

// Combine: 4096 tokens of 7168 BF16 elements from 7.49 GPUs each, seven of eight of which are not
// where the token's own copy is: 385 MB over NVLink, more than the 3.47 remote nodes' over the NIC.
TEST_CASE("an exchange moves what its busier medium does, by the SMs lent to it") {
  const PredictedPlan predicted(PublishedPlan().plan);
  const ReplayScript script = predicted.script(3, 1);
  int seen = 0, combined = 0;
  for (const ReplayAction& action : script.actions) {
    if (!action.copy) continue;
    ++seen;
    const Instruction& instruction = predicted.program.instructions[action.instruction.index()];
    CHECK(action.copy->ctas == 20);
    CHECK(action.copy->lasts == predicted.timeline.at(action.instruction).length());
    if (predicted.program.work(instruction).wire.pattern != Pattern::kCombine) continue;
    ++combined;
    CHECK(action.copy->bytes.value() == Approx(4096 * 14336 * 7.49 * 7 / 8).epsilon(0.002));
  }
  CHECK(seen == 16);
  CHECK(combined == 4);
}

TEST_CASE("a plan that lends no SM has exchanges that only take time") {
  PlanShape shape{small_mla_moe(), "dualpipe", 8, sizes(4, 4, 4)};
  shape.layout.comm_sms = 0;
  const PredictedPlan predicted(shape);
  Seconds exchanged;
  for (const ReplayAction& action : predicted.script(1).actions) {
    CHECK_FALSE(action.copy.has_value());
    if (action.stream == Stream::kComm) exchanged += action.lasts;
  }
  CHECK(exchanged > Seconds{});
}

TEST_CASE("weights of eight layers lie in memory, taken in turns") {
  Model model = small_mla_moe();
  model.layers = 20;
  const PredictedPlan predicted(PlanShape{model, "1f1b", 4, sizes(1, 2, 2)});
  std::map<int, std::set<int>> entries;  // of the stage map, by resident layer
  for (const ReplayAction& action : predicted.script(0).actions) {
    const Instruction& instruction = predicted.program.instructions[action.instruction.index()];
    if (instruction.cell < 0) continue;
    for (const KernelCall& call : action.kernels) entries[call.layer].insert(instruction.layer);
  }
  // Embedding, 20 layers, MTP, head: 23 entries, in the order of their first kernel.
  REQUIRE(entries.size() == 8);
  for (const auto& [layer, own] : entries) {
    for (const int entry : own) CHECK(entry % kResidentLayers == layer);
  }
}

TEST_CASE("more pairs than there are, or none at all, is bad input") {
  const PredictedPlan predicted(PlanShape{small_mla_moe(), "dualpipe", 10, sizes(4, 4, 4)});
  const int most = longest_pair_run(predicted.plan.schedule, Rank(1)).count;
  REQUIRE(most > 0);
  CHECK_NOTHROW(predicted.script(1, most));
  CHECK_THROWS_WITH(predicted.script(1, most + 1),
                    Catch::Contains(fmt::format("take --pairs {} or fewer", most)));
  const PredictedPlan without(PlanShape{small_mla_moe(), "1f1b", 8, sizes(4, 4, 4)});
  CHECK_THROWS_WITH(without.script(1, 1), Catch::Contains("no co-scheduled pairs"));
}

TEST_CASE("what the host does is not replayed, except where it is not asked for") {
  Plan plan = plan_of({small_mla_moe(), "dualpipe", 10, sizes(4, 4, 4)});
  plan.layout.optimizer = Keep::kCpu;
  const PredictedPlan predicted(plan);
  CHECK_THROWS_WITH(predicted.script(1), Catch::Contains("optimizer=cpu"));
  CHECK_NOTHROW(predicted.script(1, 1));
}

}  // namespace
}  // namespace orrery
