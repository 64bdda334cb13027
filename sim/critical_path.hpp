#pragma once
// The chain of instructions that decided how long a step took, read from its Timeline: from the
// last instruction back to that which it waited for last, and so on to the start of the step.
//
// What an instruction waits for: its predecessor on the stream, its dependencies, and those of its
// partner or of the other members of its collective; where computations take turns on `cores`
// cores (rank r on core r mod cores) also the one that had the core before. The time between the
// last of their ends and its own end is the path's share of the instruction; what of it lies before
// the instruction's start is waiting: for a message, a core, or to be woken.
//
// Exact for a simulated timeline; in a measured one an instruction may have waited for something
// that the Program does not know.
//
// Cost: O(instructions + dependencies).
#include <vector>

#include "core/program.hpp"
#include "core/timeline.hpp"

namespace orrery {

struct CriticalStep {
  InstructionId instruction;
  Seconds waited;  // from the last end that it waited for to its start
  Seconds ran;     // from its start, or that end if later, to its own end
};

// In order of time. The shares add up to the end of the last instruction. `cores` 0: every rank
// has a device of its own.
std::vector<CriticalStep> critical_path(const Program& program, const Timeline& timeline,
                                        int cores);

}  // namespace orrery
