#include "realrun/replay_record.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "tests/realrun/replay_examples.hpp"

namespace orrery {
namespace {

struct Replayed {
  explicit Replayed(int pairs = 2)
      : predicted(PlanShape{small_mla_moe(), "dualpipe", 10, sizes(4, 4, 4)}),
        script(predicted.script(1, pairs)),
        device(made_up_device(1.25)),
        measured(measure_replay(device, script, {0, 2})),
        record(replay_record(predicted.plan, predicted.program, script, measured, device,
                             MadeUpCosts{}, "made-up")) {}

  PredictedPlan predicted;
  ReplayScript script;
  SimulatedDevice device;
  MeasuredReplay measured;
  ReplayRecord record;
};

ReplayRecord parsed(std::string text) {
  Diagnostics diagnostics;
  return read_replay_record(parse_json("replay.json", std::move(text), diagnostics), diagnostics);
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  const std::size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  return text.replace(at, what.size(), with);
}

TEST_CASE("a replay's file reads as what was written, to the last bit") {
  const Replayed replayed;
  const std::string text = to_json(replayed.record);
  const ReplayRecord read = parsed(text);
  CHECK(to_json(read) == text);
  CHECK(read.device == "made up");
  CHECK(read.simulated);
  CHECK(read.rank == Rank(1));
  CHECK(read.pairs == 2);
  CHECK(read.ids == replayed.record.ids);
  CHECK(read.gated == replayed.measured.gated.spans);
  CHECK(read.open == replayed.measured.open.spans);
  CHECK(read.ops == replayed.record.ops);
  CHECK(read.plan == replayed.predicted.plan);
  CHECK_NOTHROW(check_same_program(read, "replay.json", replayed.predicted.program));
}

// The device takes a quarter longer for every kernel; predicted is each launch by itself.
TEST_CASE("ops have all of their launches, predicted and as they ran") {
  const Replayed replayed;
  int launches = 0;
  Seconds predicted, spans;
  for (const MeasuredOp& op : replayed.record.ops) {
    launches += op.launches;
    predicted += op.predicted;
    CHECK(op.measured.value() == Approx(1.25 * op.predicted.value()));
  }
  std::size_t calls = 0;
  for (std::size_t at = 0; at < replayed.script.actions.size(); ++at) {
    const ReplayAction& action = replayed.script.actions[at];
    calls += action.kernels.size();
    if (action.stream == Stream::kCompute)
      spans += replayed.predicted.timeline.at(action.instruction).length();
  }
  CHECK(launches == static_cast<int>(calls));
  CHECK(predicted.value() == Approx(spans.value()));
}

TEST_CASE("a replay's file that does not fit is an error with its place") {
  const Replayed replayed;
  const std::string text = to_json(replayed.record);
  CHECK_THROWS_WITH(parsed(replaced(text, "\"rank\": 1", "\"rank\": -1")),
                    Catch::Contains("replay.json:"));
  CHECK_THROWS_WITH(parsed(replaced(text, "\"kind\"", "\"sort\"")), Catch::Contains("'kind'"));
  CHECK_THROWS_WITH(parsed(replaced(text, "\"id\": [\n      ", "\"id\": [\n      0, ")),
                    Catch::Contains("not of one length"));
  CHECK_THROWS_WITH(parsed(replaced(text, "\"gated_s\": [", "\"gated_s\": [-1, ")),
                    Catch::Contains("gated_s"));
  CHECK_THROWS_WITH(parsed(replaced(text, "\"start_s\": [\n      0", "\"start_s\": [\n      1e8")),
                    Catch::Contains("ends before it starts"));
}

TEST_CASE("a replay of another plan is not compared") {
  const Replayed replayed;
  const PredictedPlan other(PlanShape{small_mla_moe(), "dualpipe", 12, sizes(4, 4, 4)});
  CHECK_THROWS_WITH(check_same_program(replayed.record, "replay.json", other.program),
                    Catch::Contains("of another plan"));
  ReplayRecord record = replayed.record;
  record.rank = Rank(2);
  CHECK_THROWS_WITH(check_same_program(record, "replay.json", replayed.predicted.program),
                    Catch::Contains("rank 2"));
  record = replayed.record;
  record.ids.front() = InstructionId(1'000'000);
  CHECK_THROWS_AS(check_same_program(record, "replay.json", replayed.predicted.program),
                  InputError);
}

}  // namespace
}  // namespace orrery
