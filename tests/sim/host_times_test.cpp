// What the instructions of a Program take on a host, calibrated, paced or recorded.
#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "tests/sim/hand_made.hpp"
#include "tests/sim/hand_made_calibration.hpp"

namespace orrery {
namespace {

TEST_CASE("the times of a Program's instructions, paced, and its machine") {
  HostCalibration host;
  host.device.cores = 2;
  host.device.slowdown = {1, 1.5};
  host.device.hand_over = Seconds{0.25};
  host.device.wake = Seconds{0.5};
  host.kernels = {stream_row(KernelClass::kCast, 100, 1), stream_row(KernelClass::kNorm, 100, 2)};
  host.transfers = {transfer_row(Pattern::kSend, 2, 10, 3)};
  const HostCost costs(host);
  ProgramMaker make(2);
  const InstructionId compute = make.compute(0, 0);
  make.program.works[0].ops = {stream_op(KernelClass::kCast, 100),
                               stream_op(KernelClass::kNorm, 100)};
  const auto [send, recv] = make.send(0, 10, {compute});
  const auto at = [&](const InstructionTimes& times, InstructionId id) {
    return times.at(make.program.instructions[id.index()]);
  };
  const HostTimes plain(make.program, costs, 0);
  CHECK(at(plain, compute).work.value() == Approx(3));
  CHECK(at(plain, compute).lasts == Seconds{});
  CHECK(at(plain, recv).work.value() == Approx(3));
  const HostTimes paced(make.program, costs, 4);
  CHECK(at(paced, compute).work.value() == Approx(3));
  CHECK(at(paced, compute).lasts.value() == Approx(12));
  CHECK(at(paced, send).lasts.value() == Approx(12));
  CHECK(costs.compute(make.program.works[0], 20).gaps == Seconds{});

  const HostMachine machine = costs.machine();
  CHECK(machine.cores == 2);
  // Calibrated with both cores at work: one alone is faster than that.
  CHECK(machine.slowdown == std::vector<double>{1 / 1.5, 1});
  CHECK(machine.hand_over == Seconds{0.25});
  CHECK(machine.wake == Seconds{0.5});
  // 3 s at the speed of one busy core, the receiver's worker wakes, 3 s.
  CHECK(run_host(make.program, machine, plain).step.value() == Approx(2 + 0.5 + 2));
}

TEST_CASE("a recorded measurement is replayed instruction by instruction") {
  ProgramMaker make(2);
  const InstructionId compute = make.compute(0, 0);
  make.send(0, 10, {compute});
  HostMachine machine;
  const std::vector<Seconds> work = {Seconds{2}, Seconds{100}, Seconds{5}};  // the receive counts
  CHECK(run_host(make.program, machine, RecordedTimes(work)).step == Seconds{7});
  const std::vector<Seconds> lasts = {Seconds{3}, Seconds{}, Seconds{5.5}};
  CHECK(run_host(make.program, machine, RecordedTimes(work, lasts)).step == Seconds{8.5});
  CHECK_THROWS_AS(RecordedTimes(work, {Seconds{1}}), Bug);
  CHECK_THROWS_AS(run_host(make.program, machine, RecordedTimes({Seconds{1}})), Bug);
}

}  // namespace
}  // namespace orrery
