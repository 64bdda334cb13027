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

// How fast a core is from moment to moment, where others share the machine: works take `factor`
// times as long from `from` to the next stretch, the first factor also before it.
struct SpeedStretch {
  Seconds from;
  double factor = 1;
  bool operator==(const SpeedStretch&) const = default;
};
// By core, each in the order of time. Empty, or a core without stretches: 1 throughout.
using SpeedTrace = std::vector<std::vector<SpeedStretch>>;

}  // namespace orrery
