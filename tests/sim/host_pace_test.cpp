// A host that is paced like a device: works that last, beside the cores that they take.
#include <catch2/catch.hpp>

#include "sim/host_engine.hpp"
#include "tests/sim/hand_made_host.hpp"

namespace orrery {
namespace {

// 8 works of 0.1 s need 0.4 s of two cores; each ends 1 s after it became ready.
TEST_CASE("paced works of many ranks overlap on few cores") {
  ProgramMaker make(8);
  for (int rank = 0; rank < 8; ++rank) make.compute(rank, 0.1);
  const Timeline timeline = run_by_hand(make.program, machine_of(2), Seconds{1});
  for (const Span& span : timeline.spans) CHECK(span.end.value() == Approx(1).epsilon(1e-12));
  // Each lasts from when it was ready, as on a device of its own.
  CHECK(timeline.spans.back().start == Seconds{0});
  CHECK(timeline.step.value() == Approx(1).epsilon(1e-12));
}

// 8 works of 0.3 s need 1.2 s of two cores: the last two begin at 0.9 s and end with their work.
TEST_CASE("a pace that the cores cannot keep is overrun by the waiting") {
  ProgramMaker make(8);
  for (int rank = 0; rank < 8; ++rank) make.compute(rank, 0.3);
  const Timeline timeline = run_by_hand(make.program, machine_of(2), Seconds{1});
  CHECK(timeline.step.value() == Approx(1.2).epsilon(1e-12));
  CHECK(timeline.spans.front().end.value() == Approx(1).epsilon(1e-12));
}

TEST_CASE("a pace counts from the end of what it waited for") {
  HostMachine machine = machine_of(4);
  machine.wake = Seconds{0.5};
  ProgramMaker make(2);
  const InstructionId a = make.compute(0, 1);
  const InstructionId b = make.compute(1, 1, {a});
  const Timeline timeline = run_by_hand(make.program, machine, Seconds{2});
  check_span(timeline, a, 0, 2);
  check_span(timeline, b, 2, 4);
}

// The next of a stream waits for the pace's end; the worker does other streams' work meanwhile.
TEST_CASE("a pace holds its stream, neither its worker nor a core") {
  ProgramMaker make(2);
  const InstructionId exchange = make.exchange(1, 1, 0);
  const InstructionId next = make.exchange(1, 1, 0);
  const auto [send, recv] = make.send(0, 2);
  const Timeline timeline = run_by_hand(make.program, machine_of(1), Seconds{2});
  check_span(timeline, exchange, 0, 2);
  check_span(timeline, recv, 0, 2);
  check_span(timeline, next, 2, 4);
}

// Rank 1 sleeps off its pace until 1 s and is woken at 0.8 s for something that it finds at 1.3 s;
// its own timer is earlier.
TEST_CASE("the end of its own pace wakes a worker before another's wake-up has reached it") {
  class Times : public InstructionTimes {
   public:
    explicit Times(const Program& program) : program_(program) {}
    HostTime at(const Instruction& instruction) const override {
      const Seconds work = HandTimes(program_).at(instruction).work;
      return {work, instruction.id.value == 1 ? Seconds{1} : Seconds{}};
    }
    const Program& program_;
  };
  HostMachine machine = machine_of(4);
  machine.wake = Seconds{0.5};
  ProgramMaker make(2);
  const InstructionId other = make.compute(0, 0.8);
  const InstructionId paced = make.exchange(1, 1, 0);
  const auto [send, recv] = make.send(0, 1, {other});
  SECTION("nothing is left of the wake-up that came too late") {
    const Timeline timeline = run_host(make.program, machine, Times(make.program));
    check_span(timeline, paced, 0, 1);
    check_span(timeline, recv, 0.8, 1.1);
    CHECK(timeline.step.value() == Approx(1.1));
  }
  SECTION("nor for what arrives when the worker sleeps again") {
    const InstructionId later = make.compute(0, 0.4);
    const auto [send_2, recv_2] = make.send(0, 1, {later});
    const Timeline timeline = run_host(make.program, machine, Times(make.program));
    check_span(timeline, later, 0.8, 1.2);
    check_span(timeline, recv_2, 1.2, 1.8);  // awake at 1.7
  }
}

}  // namespace
}  // namespace orrery
