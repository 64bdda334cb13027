#pragma once
// When the cells of a schedule run if messages are rendezvous (p2p_order.hpp): the batch before a
// cell is posted when the cell before has ended; a send or receive is done a latency after both
// sides have posted it, a batch when all of it is done. Other than that as
// planner/schedules/timing.hpp, with atomic cells.
#include <optional>
#include <string>

#include "planner/schedules/p2p_order.hpp"
#include "planner/schedules/timing.hpp"

namespace orrery {

// Throws nothing: a schedule that deadlocks gives what waits for what, in words.
struct RendezvousTiming {
  std::optional<std::string> deadlock;
  ScheduleTiming timing;  // meaningless where there is a deadlock
};

// `order` has a batch before every cell and one at the end; what it holds may be wrong.
RendezvousTiming time_rendezvous(const Schedule& schedule, const P2pOrder& order,
                                 const CellTimes& times);

}  // namespace orrery
