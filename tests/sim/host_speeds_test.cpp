// Cores whose speed changes while a Program runs, timed by hand.
#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "sim/host_engine.hpp"
#include "tests/sim/hand_made_host.hpp"

namespace orrery {
namespace {

Timeline run(const Program& program, int cores, const SpeedTrace& speeds) {
  return run_by_hand(program, machine_of(cores), {}, speeds);
}

// 1 s of the work until 1 s, the other 2 s take 4 s until 5 s.
TEST_CASE("work goes on at the new speed from where it was") {
  ProgramMaker make(1);
  const InstructionId work = make.compute(0, 3);
  check_span(run(make.program, 1, {{{Seconds{0}, 1}, {Seconds{1}, 2}}}), work, 0, 5);
}

// At 2 s 1 s of 3 s is done; the rest goes twice as fast.
TEST_CASE("the first factor holds before its time too") {
  ProgramMaker make(1);
  const InstructionId work = make.compute(0, 3);
  check_span(run(make.program, 1, {{{Seconds{1}, 2}, {Seconds{2}, 0.5}}}), work, 0, 3);
}

TEST_CASE("each core has its own speed, and one without stretches its calibrated one") {
  ProgramMaker make(2);
  const InstructionId a = make.compute(0, 1);
  const InstructionId b = make.compute(1, 1);
  const Timeline timeline = run(make.program, 2, {{}, {{Seconds{0}, 3}}});
  check_span(timeline, a, 0, 1);
  check_span(timeline, b, 0, 3);
}

// The cores do 1 s and 1/3 s of work a second: 2/3 s on average.
TEST_CASE("communication has the mean speed of all cores") {
  ProgramMaker make(1);
  const InstructionId exchange = make.exchange(0, 20, 0);
  check_span(run(make.program, 2, {{}, {{Seconds{0}, 3}}}), exchange, 0, 3);
}

TEST_CASE("a speed changes while nothing runs") {
  ProgramMaker make(2);
  HostMachine machine = machine_of(2);
  machine.wake = Seconds{2};
  const InstructionId first = make.compute(0, 1);
  const InstructionId second = make.compute(1, 1, {first});
  const SpeedTrace speeds = {{}, {{Seconds{0}, 1}, {Seconds{1.5}, 7}, {Seconds{2}, 2}}};
  const Timeline timeline = run_by_hand(make.program, machine, {}, speeds);
  check_span(timeline, second, 3, 5);
}

TEST_CASE("a core that stands still is a bug of the trace") {
  ProgramMaker make(1);
  make.compute(0, 1);
  CHECK_THROWS_AS(run(make.program, 1, {{{Seconds{0}, 0}}}), Bug);
}

}  // namespace
}  // namespace orrery
