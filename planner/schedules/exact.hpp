#pragma once
// The shortest makespan of a small problem, proven: depth-first branch and bound over all schedules
// of F, I and W cells that could be shorter than a known one.
//
// Micro-batches of a chunk are alike, so each chunk takes them in order. Of all orders only active
// schedules are looked at (Giffler and Thompson, 1960): some cell on the rank with the earliest
// completion starts before that completion, or else that cell could have been put in front. Where a
// rank has two chunks a forward may also be held back, since it takes memory that the other chunk's
// may need. A state that was reached before with the same counts and no later times is not searched
// again. Pairs are not considered: for times in which they gain nothing.
#include <optional>

#include "planner/schedules/compact.hpp"

namespace orrery {

struct ExactResult {
  // Shorter than what was known, and its makespan; nothing where there is none.
  std::optional<CompactOrder> order;
  double makespan = 0;  // of the shortest: found, or known
  bool proven = false;  // else the node limit was reached
  long nodes = 0;
};

// `known`: a makespan that is reached by some schedule.
ExactResult shortest_schedule(const CompactProblem& problem, double known, long node_limit);

}  // namespace orrery
