#pragma once
// What crossed each link of a simulated step, and when.
#include <string>
#include <vector>

#include "sim/network/flow_plan.hpp"

namespace orrery {

// One class of links that do the same. A flow's bytes count evenly over the time it took; its rate
// may have changed meanwhile.
struct LinkUse {
  std::string name;          // of the first of them
  double count = 1;          // how many there are
  BytesPerSecond capacity;   // of one, one direction
  double bytes = 0;          // over one, in the step
  std::vector<double> load;  // share of the capacity used, in equal parts of the step

  double mean() const;
  double peak() const;
};

inline constexpr int kLinkBins = 100;

// Links that nothing crossed are left out; the busiest first.
std::vector<LinkUse> link_use(const FlowPlan& plan, const std::vector<FlowRecord>& records,
                              Seconds step);

}  // namespace orrery
