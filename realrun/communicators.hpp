#pragma once
// Which communicators the ranks of a Program need: each set of ranks that exchanges something gets
// one of its own, because the calls of a communicator are carried out in order, on all members.
//
// Cost: O(instructions).
#include <utility>
#include <vector>

#include "core/program.hpp"

namespace orrery {

struct Communicators {
  // Of collectives and expert-parallel exchanges: members in the Program's order; two or more.
  std::vector<std::vector<int>> groups;
  // Of pipeline transfers: (sender, receiver). One a direction: what both send each other at once
  // must not wait for each other.
  std::vector<std::pair<int, int>> pairs;
};

// `program` is a world's (workload/world.hpp): its ranks are GPUs. Sorted and without repetitions,
// so all ranks that make them in this order meet.
Communicators communicators_of(const Program& program);

}  // namespace orrery
