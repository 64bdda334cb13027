#pragma once
// Times and machines for hand-made programs on a host.
#include <catch2/catch.hpp>

#include "sim/host_engine.hpp"
#include "tests/sim/hand_made.hpp"

namespace orrery {

// HandCost's times: a compute lasts as long as its op has rows; every instruction is paced alike.
class HandTimes : public InstructionTimes {
 public:
  explicit HandTimes(const Program& program, Seconds lasts = {})
      : program_(program), lasts_(lasts) {}
  HostTime at(const Instruction& instruction) const override {
    const Work& work = program_.work(instruction);
    const HandCost costs;
    return {work.is_compute() ? costs.compute(work, 0).total()
                              : uncontended(work.wire, costs.transfer(work, false, 0)),
            lasts_};
  }

 private:
  const Program& program_;
  Seconds lasts_;
};

inline HostMachine machine_of(int cores) {
  HostMachine machine;
  machine.cores = cores;
  machine.slowdown.assign(static_cast<std::size_t>(cores), 1.0);
  return machine;
}

inline Timeline run_by_hand(const Program& program, const HostMachine& machine, Seconds lasts = {},
                            const SpeedTrace& speeds = {}) {
  return run_host(program, machine, HandTimes(program, lasts), speeds);
}

inline void check_span(const Timeline& timeline, InstructionId id, double start, double end) {
  CAPTURE(id.value);
  CHECK(timeline.at(id).start.value() == Approx(start).margin(1e-12));
  CHECK(timeline.at(id).end.value() == Approx(end).margin(1e-12));
}

}  // namespace orrery
