#pragma once
// Carries out a Program as a real run on one host does: every rank is two threads of one process,
// its compute worker (stream kCompute) and its communication worker (all other streams), and all
// workers share a few cores.
//
// Cores. Rank r computes on core r mod `cores`, and holds it from the beginning to the end of a
// computation; ranks of one core take turns, first come first served. Communication needs none: its
// works run at once, in front of computation (realrun/rank_worker.cpp gives its threads shorter
// time slices). With `busy` cores at work each proceeds at 1 / slowdown[busy - 1] of its own speed.
// Works of communication share the cores evenly where there are more than cores, and all
// computations share evenly what cores are left. A trace of the cores' speeds, where there is one,
// changes the speed of what computes on each core; works of communication have the mean of all.
//
// Workers. A worker does one work at a time, in the order in which its instructions became ready. A
// paced instruction (HostTime::lasts) has given its slot back before it ends and keeps neither a
// core nor its worker, only its stream. A worker with nothing to do sleeps; what another worker's
// end makes startable is ready `wake` later. A core that passes from one worker to another is idle
// for at least `hand_over`.
//
// Several ranks. A transfer is copied by the receiver's communication worker, the sender uses no
// core; both end together. The members of a collective each do their own work once all of them have
// come, and all end when the last of them does.
//
// Spans. An instruction starts when its work begins; transfers and members of collectives when all
// sides were there, paced instructions when they are ready. Its end includes the pace. With two
// cores a rank, no slowdown, no latencies and no pace the result is that of run_analytic, wherever
// a rank's communication does not meet.
//
// Events of one time are taken in a fixed order (ends of works, ends of paces, workers awake, cores
// handed over, slots given; within each in the order in which they came about): equal input gives
// equal output.
//
// Cost: O(instructions x (cores + log ranks)): 4 million instructions a second for 32 ranks on 2
// cores, 1.8 million on 64.
#include "core/host_machine.hpp"
#include "core/timeline.hpp"

namespace orrery {

struct Program;
struct Instruction;

struct HostTime {
  Seconds work;   // CPU time on one core, the others free
  Seconds lasts;  // least time from the end of what it waited for; 0: as long as the work takes
};

class InstructionTimes {
 public:
  virtual ~InstructionTimes() = default;
  // Of a transfer only the receive is asked for: the receiver copies.
  virtual HostTime at(const Instruction& instruction) const = 0;
};

// `speeds`: of the cores while the Program runs. Throws InputError when the Program deadlocks.
Timeline run_host(const Program& program, const HostMachine& machine, const InstructionTimes& times,
                  const SpeedTrace& speeds = {});

}  // namespace orrery
