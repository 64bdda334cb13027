#pragma once
// Who waits for whom: in every collective that several ranks of a Program enter, how long each of
// them was ready before the last, and which that was.
#include <vector>

#include "core/program.hpp"
#include "core/timeline.hpp"

namespace orrery {

struct WaitFor {
  Rank waiter;
  Rank last;      // the member that was ready last
  Seconds total;  // over all collectives of the step
  long times = 0;
};

// Longest first; pairs that never waited are left out. A nanosecond is no wait.
std::vector<WaitFor> waits_in_collectives(const Program& program, const Timeline& timeline);

}  // namespace orrery
