#pragma once
// A host whose threads are the ranks, as its calibration sees it: what sim/host_engine.hpp carries
// out Programs on.
#include <vector>

#include "core/quantity.hpp"

namespace orrery {

struct HostMachine {
  int cores = 1;
  // [busy - 1]: how many times longer work takes with so many cores busy; one entry a core.
  std::vector<double> slowdown = {1};
  Seconds hand_over;  // least idle time of a slot between the works of two workers
  Seconds wake;       // of a sleeping worker, from the end it waited for; holds no core
  bool operator==(const HostMachine&) const = default;
};

}  // namespace orrery
