#include "realrun/timeline_comparison.hpp"

#include <catch2/catch.hpp>

#include "sim/host_cost.hpp"
#include "tests/realrun/tiny_runs.hpp"
#include "tests/sim/hand_made_host.hpp"

namespace orrery {
namespace {

// A plan whose ranks are GPUs of their own already, with its works' times by instruction.
struct Example {
  Example() {
    RunShape shape;
    shape.layout = sizes(2, 1);
    shape.layout.precision = Precision::kBf16;
    plan = tiny_plan(shape);
    program = expand(lower(plan), plan.layout).program;
    Random random(3);
    for (std::size_t id = 0; id < program.instructions.size(); ++id)
      work.push_back(microseconds(20 + random.below(200)));
  }

  // The timeline that those times give on `cores` cores, every one `factor` times as long.
  TimelineFile file(double factor, int cores) const {
    std::vector<Seconds> times;
    for (Seconds time : work) times.push_back(time * factor);
    HostMachine machine = machine_of(cores);
    TimelineFile made;
    made.timeline = run_host(program, machine, RecordedTimes(times));
    made.run.emplace();
    made.run->cores = cores;
    made.run->host = machine;
    made.run->work = times;
    for (const Instruction& instruction : program.instructions) {
      const bool sends =
          instruction.stream == Stream::kSendNext || instruction.stream == Stream::kSendPrev;
      if (sends) made.run->work[instruction.id.index()] = Seconds{};
    }
    return made;
  }

  Plan plan;
  Program program;
  std::vector<Seconds> work;
};

TEST_CASE("a timeline compared with itself has no error anywhere") {
  const Example example;
  const TimelineFile file = example.file(1, 2);
  const TimelineComparison same = compare_timelines(example.program, file, file);
  CHECK(same.error() == 0);
  CHECK(same.worst_wait_error() == 0);
  CHECK(same.path_in_common == Approx(1));
  REQUIRE(same.replayed.has_value());
  CHECK(same.op_cost_error() == Approx(0).margin(1e-12));
  CHECK(same.residual() == Approx(0).margin(1e-12));
  for (const KindComparison& kind : same.kinds) CHECK(kind.predicted == kind.measured);
}

TEST_CASE("times that are all too short are an error of op cost alone") {
  const Example example;
  const TimelineFile predicted = example.file(0.9, 2), measured = example.file(1, 2);
  const TimelineComparison compared = compare_timelines(example.program, predicted, measured);
  CHECK(compared.error() == Approx(-0.1));
  CHECK(compared.op_cost_error() == Approx(-0.1));
  CHECK(compared.residual() == Approx(0).margin(1e-9));
}

TEST_CASE("a core less, with the same times, is a residual alone") {
  const Example example;
  const TimelineFile predicted = example.file(1, 2);
  TimelineFile measured = example.file(1, 1);
  measured.run->cores = 2;  // as if one had been busy with something else
  const TimelineComparison compared = compare_timelines(example.program, predicted, measured);
  CHECK(compared.error() < -0.1);
  CHECK(compared.op_cost_error() == Approx(0).margin(1e-12));
  CHECK(compared.residual() == Approx(compared.error()));
}

TEST_CASE("both parts of the error add up to it, whatever the times") {
  const Example example;
  TimelineFile measured = example.file(1, 2);
  for (std::size_t id = 0; id < measured.run->work.size(); id += 3)
    measured.run->work[id] = measured.run->work[id] * 1.7;
  const TimelineComparison compared =
      compare_timelines(example.program, example.file(1.2, 2), measured);
  CHECK(compared.op_cost_error() + compared.residual() == Approx(compared.error()));
}

TEST_CASE("a machine that was slower than when it was calibrated explains the error") {
  const Example example;
  TimelineFile predicted = example.file(1, 2), measured = example.file(1.25, 2);
  predicted.run->meter = microseconds(4);
  measured.run->meter = microseconds(5);
  const TimelineComparison compared = compare_timelines(example.program, predicted, measured);
  CHECK(compared.error() == Approx(-0.2));
  REQUIRE(compared.at_speed.has_value());
  CHECK(*compared.slower == Approx(1.25));
  CHECK(compared.error_at_speed() == Approx(0).margin(1e-9));
  predicted.run->meter = {};  // a calibration that does not say how fast the machine was
  CHECK_FALSE(compare_timelines(example.program, predicted, measured).at_speed.has_value());
}

TEST_CASE("without measured op times it says why the error is not split") {
  const Example example;
  TimelineFile measured = example.file(1, 2);
  measured.run->work.clear();
  const TimelineComparison compared =
      compare_timelines(example.program, example.file(1, 2), measured);
  CHECK_FALSE(compared.replayed.has_value());
  CHECK_THAT(compared.why_not_replayed, Catch::Contains("does not say what its instructions cost"));
}

}  // namespace
}  // namespace orrery
