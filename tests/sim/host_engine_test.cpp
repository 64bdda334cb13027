// A run of many ranks on few cores, on programs small enough to be timed by hand and on random
// ones.
#include "sim/host_engine.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "tests/sim/hand_made_host.hpp"

namespace orrery {
namespace {

// ---------------------------------------------------------------------------------------------------------------------
// Cores

TEST_CASE("one core does the works of three ranks one after another, first come first served") {
  ProgramMaker make(3);
  const InstructionId a = make.compute(0, 1);
  const InstructionId b = make.compute(1, 2);
  const InstructionId c = make.compute(2, 3);
  const InstructionId a2 = make.compute(0, 1);
  const Timeline timeline = run_by_hand(make.program, machine_of(1));
  check_span(timeline, a, 0, 1);
  check_span(timeline, b, 1, 3);
  check_span(timeline, c, 3, 6);
  check_span(timeline, a2, 6, 7);  // asked at 1, when b and c already waited
  CHECK(timeline.step.value() == Approx(7));
  CHECK(timeline.source == "host");
  CHECK(timeline.activities == 4);
  CHECK(timeline.rank_classes == 3);
  CHECK(timeline.gpus == 3);
}

TEST_CASE("two cores do two of three works at once") {
  ProgramMaker make(3);
  const InstructionId a = make.compute(0, 1);
  const InstructionId b = make.compute(1, 2);
  const InstructionId c = make.compute(2, 3);
  const Timeline timeline = run_by_hand(make.program, machine_of(2));
  check_span(timeline, a, 0, 1);
  check_span(timeline, b, 0, 2);
  check_span(timeline, c, 1, 4);
}

// From 1 on 1 s of copying keeps 1 s of computation, which holds the slot, from the core.
TEST_CASE("communication needs no slot and comes before what computes") {
  ProgramMaker make(3);
  const InstructionId first = make.compute(0, 1);
  const InstructionId compute = make.compute(1, 1);
  const InstructionId exchange = make.exchange(2, 10, 0, {first});
  const Timeline timeline = run_by_hand(make.program, machine_of(1));
  check_span(timeline, first, 0, 1);
  check_span(timeline, exchange, 1, 2);
  check_span(timeline, compute, 1, 3);
}

// From 1 to 2 a copy has one of two cores and two computations run at half their speed.
TEST_CASE("computations share the cores that communication leaves") {
  ProgramMaker make(2);
  const InstructionId first = make.compute(0, 1);
  const InstructionId exchange = make.exchange(0, 10, 0, {first});
  const InstructionId blocker = make.compute(1, 10);
  const InstructionId next = make.compute(0, 5);
  const Timeline timeline = run_by_hand(make.program, machine_of(2));
  check_span(timeline, blocker, 0, 10.5);
  check_span(timeline, exchange, 1, 2);
  check_span(timeline, next, 1, 6.5);
}

// Ranks 0 and 2 share core 0; core 1 is free from 1 on and stays idle.
TEST_CASE("a rank computes on its own core, though another one is free") {
  ProgramMaker make(3);
  const InstructionId a = make.compute(0, 2);
  const InstructionId b = make.compute(1, 1);
  const InstructionId c = make.compute(2, 3);
  const Timeline timeline = run_by_hand(make.program, machine_of(2));
  check_span(timeline, a, 0, 2);
  check_span(timeline, b, 0, 1);
  check_span(timeline, c, 2, 5);
}

// Work proceeds at 1 / slowdown(busy cores): with 1.25, 1 s of work takes 1.25 s beside another.
TEST_CASE("two works at once slow each other down by the factor of two busy cores") {
  HostMachine machine = machine_of(2);
  machine.slowdown = {1, 1.25};
  SECTION("of equal length") {
    ProgramMaker make(2);
    const InstructionId a = make.compute(0, 1);
    const InstructionId b = make.compute(1, 1);
    const Timeline timeline = run_by_hand(make.program, machine);
    check_span(timeline, a, 0, 1.25);
    check_span(timeline, b, 0, 1.25);
  }
  SECTION("the longer one speeds up when the other has ended") {
    ProgramMaker make(2);
    const InstructionId a = make.compute(0, 1);
    const InstructionId b = make.compute(1, 2);
    const Timeline timeline = run_by_hand(make.program, machine);
    check_span(timeline, a, 0, 1.25);
    check_span(timeline, b, 0, 2.25);
  }
  SECTION("one that begins beside another slows it down from then on") {
    // b begins at 1.25 beside c, which has 3 - 1 = 2 s left: b's 1 s ends at 2.5, c has 1 s left.
    ProgramMaker make(3);
    const InstructionId a = make.compute(0, 1);
    const InstructionId c = make.compute(1, 3);
    const InstructionId b = make.compute(2, 1, {a});
    const Timeline timeline = run_by_hand(make.program, machine);
    check_span(timeline, a, 0, 1.25);
    check_span(timeline, b, 1.25, 2.5);
    check_span(timeline, c, 0, 3.5);
  }
}

TEST_CASE("a core is idle for the hand-over between two workers and not between works of one") {
  HostMachine machine = machine_of(1);
  machine.hand_over = Seconds{0.25};
  ProgramMaker make(2);
  const InstructionId a = make.compute(0, 1);
  const InstructionId a2 = make.compute(0, 1);
  const InstructionId b = make.compute(1, 1, {a2});
  const InstructionId exchange = make.exchange(1, 10, 0, {b});
  const Timeline timeline = run_by_hand(make.program, machine);
  check_span(timeline, a, 0, 1);
  check_span(timeline, a2, 1, 2);
  check_span(timeline, b, 2.25, 3.25);
  check_span(timeline, exchange, 3.25, 4.25);  // communication has no slot to wait for
}

// The core of rank 0 is free from 1 on, so that at 4 no hand-over is left to wait for. A core that
// is handed over does not slow others down.
TEST_CASE("a hand-over passes while the core is idle anyway") {
  HostMachine machine = machine_of(2);
  machine.hand_over = Seconds{0.25};
  machine.slowdown = {1, 2};
  ProgramMaker make(3);
  const InstructionId a = make.compute(0, 1);
  const InstructionId b = make.compute(1, 1);
  const InstructionId b2 = make.compute(1, 3);
  const InstructionId c = make.compute(2, 1, {b2});
  const Timeline timeline = run_by_hand(make.program, machine);
  check_span(timeline, a, 0, 2);
  check_span(timeline, b, 0, 2);
  check_span(timeline, b2, 2, 5);
  check_span(timeline, c, 5, 6);

  ProgramMaker other(4);
  const InstructionId short_one = other.compute(0, 1);
  const InstructionId long_one = other.compute(1, 2);
  const InstructionId waits = other.compute(2, 1);
  // Both at half speed until 2; the long one alone during the hand-over: 0.75 s left at 2.25, then
  // at half speed again until 3.75; the last has 0.25 s left.
  const Timeline handed = run_by_hand(other.program, machine);
  check_span(handed, short_one, 0, 2);
  check_span(handed, long_one, 0, 3.75);
  check_span(handed, waits, 2.25, 4);
}

// ---------------------------------------------------------------------------------------------------------------------
// Workers

TEST_CASE("a sleeping worker is ready only after it has woken, and its own next work at once") {
  HostMachine machine = machine_of(4);
  machine.wake = Seconds{0.5};
  ProgramMaker make(2);
  const InstructionId a = make.compute(0, 1);
  const InstructionId a2 = make.compute(0, 1);
  const InstructionId b = make.compute(1, 1, {a});
  const InstructionId exchange = make.exchange(0, 10, 0, {a2});
  const Timeline timeline = run_by_hand(make.program, machine);
  check_span(timeline, a2, 1, 2);
  check_span(timeline, b, 1.5, 2.5);
  check_span(timeline, exchange, 2.5, 3.5);
}

TEST_CASE("a worker at work finds what has become startable without waking") {
  HostMachine machine = machine_of(4);
  machine.wake = Seconds{0.5};
  ProgramMaker make(2);
  const InstructionId a = make.compute(0, 1);
  const InstructionId b = make.compute(1, 3);
  const InstructionId b2 = make.compute(1, 1, {a});
  const Timeline timeline = run_by_hand(make.program, machine);
  check_span(timeline, b, 0, 3);
  check_span(timeline, b2, 3, 4);
}

// While rank 1's worker wakes (1 to 1.5) a second instruction arrives (1.25): both are found
// at 1.5.
TEST_CASE("what arrives while a worker wakes is found when it is awake") {
  HostMachine machine = machine_of(8);
  machine.wake = Seconds{0.5};
  ProgramMaker make(3);
  const InstructionId first = make.compute(0, 1);
  const InstructionId second = make.compute(2, 1.25);
  const InstructionId exchange = make.exchange(1, 10, 0, {first});
  const auto [send, recv] = make.send(0, 10, {second});
  const Timeline timeline = run_by_hand(make.program, machine);
  check_span(timeline, exchange, 1.5, 2.5);
  check_span(timeline, send, 1.25, 3.5);  // both sides were there at 1.25, the copy waits its turn
}

TEST_CASE("a latency holds no core") {
  HostMachine machine = machine_of(1);
  machine.wake = Seconds{0.5};
  ProgramMaker make(3);
  const InstructionId a = make.compute(0, 1);
  const InstructionId b = make.compute(1, 1, {a});
  const InstructionId a2 = make.compute(0, 0.25);
  const Timeline timeline = run_by_hand(make.program, machine);
  check_span(timeline, a2, 1, 1.25);
  check_span(timeline, b, 1.5, 2.5);
}

TEST_CASE("a worker does one work at a time, on whatever streams they are") {
  ProgramMaker make(2);
  const InstructionId exchange = make.exchange(1, 30, 0);
  const auto [send, recv] = make.send(0, 20);
  const InstructionId compute = make.compute(1, 4);
  const Timeline timeline = run_by_hand(make.program, machine_of(8));
  check_span(timeline, exchange, 0, 3);
  check_span(timeline, recv, 0, 5);  // there since 0, copied from 3 to 5
  check_span(timeline, compute, 0, 4);
}

// ---------------------------------------------------------------------------------------------------------------------
// Several ranks

// Rank 0 computes 1 s and sends 20 B (2 s): copied by rank 1 on one of two cores, so that rank 0's
// next work runs beside it.
TEST_CASE("a transfer takes a core of its receiver and none of its sender") {
  ProgramMaker make(2);
  const InstructionId first = make.compute(0, 1);
  const auto [send, recv] = make.send(0, 20, {first});
  const InstructionId second = make.compute(0, 1);
  const InstructionId third = make.compute(0, 2);
  const InstructionId after = make.compute(1, 4, {recv});
  const Timeline timeline = run_by_hand(make.program, machine_of(2));
  check_span(timeline, send, 1, 3);
  check_span(timeline, recv, 1, 3);
  check_span(timeline, second, 1, 2);
  check_span(timeline, third, 2, 4);
  check_span(timeline, after, 3, 7);
  CHECK(timeline.activities == 5);
}

// The transfer ends by the receiver's worker: rank 0's compute worker, asleep, wakes for what
// waited for the send.
TEST_CASE("both sides of a transfer end together and the sender's rank has to wake") {
  HostMachine machine = machine_of(4);
  machine.wake = Seconds{0.5};
  ProgramMaker make(2);
  const auto [send, recv] = make.send(0, 20);
  const InstructionId after = make.compute(0, 1, {send});
  const Timeline timeline = run_by_hand(make.program, machine);
  check_span(timeline, send, 0, 2);
  check_span(timeline, after, 2.5, 3.5);
}

// Rank 0 waits for rank 1 until 2 s; then each moves its own data (1 s and 3 s), all end at 5 s.
TEST_CASE("members of a collective begin when the last has come and end when the last has ended") {
  ProgramMaker make(2);
  const InstructionId slow = make.compute(1, 2);
  const InstructionId a = make.exchange(0, 10, 0);
  const InstructionId b = make.exchange(1, 30, 0, {slow});
  make.collective({a, b});
  const InstructionId after = make.compute(0, 1, {a});
  const InstructionId beside = make.compute(1, 10);
  const Timeline timeline = run_by_hand(make.program, machine_of(4));
  check_span(timeline, a, 2, 5);
  check_span(timeline, b, 2, 5);
  check_span(timeline, after, 5, 6);
  check_span(timeline, beside, 2, 12);
}

// On one core the members' parts come one after another, and meanwhile the first member's worker
// is free for other things.
TEST_CASE("members of a collective share one core in turn") {
  ProgramMaker make(3);
  const InstructionId a = make.exchange(0, 10, 0);
  const InstructionId b = make.exchange(1, 20, 0);
  const InstructionId c = make.exchange(2, 30, 0);
  make.collective({a, b, c});
  const Timeline timeline = run_by_hand(make.program, machine_of(1));
  for (InstructionId member : {a, b, c}) check_span(timeline, member, 0, 6);
}

TEST_CASE("a paced collective ends when its slowest member's pace has ended") {
  ProgramMaker make(2);
  const InstructionId a = make.exchange(0, 1, 0);
  const InstructionId b = make.exchange(1, 1, 0);
  make.collective({a, b});
  const InstructionId after = make.exchange(0, 1, 0);
  HostMachine machine = machine_of(1);
  machine.wake = Seconds{0.5};
  const Timeline timeline = run_by_hand(make.program, machine, Seconds{1});
  check_span(timeline, a, 0, 1);
  check_span(timeline, b, 0, 1);
  check_span(timeline, after, 1, 2);  // its own pace ended too: awake
}

TEST_CASE("a program that waits for itself is reported with who waits for whom on a host too") {
  ProgramMaker make(2);
  const InstructionId first = make.compute(0, 1);
  const InstructionId second = make.compute(1, 1, {first});
  make.program.deps.push_back(second);  // and the first waits for the second
  Instruction& instruction = make.program.instructions[first.index()];
  instruction.first_dep = static_cast<std::uint32_t>(make.program.deps.size()) - 1;
  instruction.last_dep = instruction.first_dep + 1;
  CHECK_THROWS_WITH(run_by_hand(make.program, machine_of(2)),
                    Catch::Contains("deadlock") && Catch::Contains("rank 0: compute") &&
                        Catch::Contains("waits for rank 1: compute"));
}

TEST_CASE("a machine without a slowdown for each number of busy cores is a bug") {
  ProgramMaker make(1);
  make.compute(0, 1);
  HostMachine machine = machine_of(2);
  machine.slowdown = {1};
  CHECK_THROWS_AS(run_by_hand(make.program, machine), Bug);
}

}  // namespace
}  // namespace orrery
