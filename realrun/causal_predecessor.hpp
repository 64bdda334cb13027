#pragma once
// Of every instruction the last one of a given rank that it depends on, through whatever ranks the
// dependency goes: when that has ended, nothing more has to happen on the rank for it to start.
//
// It depends on its predecessor on the stream, its dependencies, and those of its partner or of the
// other members of its collective. A message on its way, out or in, is not something that the rank
// does: what comes back for one depends on what the rank did before it was sent. "Last" is by the
// timeline.
//
// Cost: O(instructions + dependencies).
#include <vector>

#include "core/program.hpp"
#include "core/timeline.hpp"

namespace orrery {

constexpr bool receives(Stream stream) {
  return stream == Stream::kRecvNext || stream == Stream::kRecvPrev;
}

// By instruction; invalid where it depends on nothing that the rank does. Throws InputError where
// the Program deadlocks.
std::vector<InstructionId> causal_predecessors(const Program& program, const Timeline& timeline,
                                               Rank rank);

}  // namespace orrery
