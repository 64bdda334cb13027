#pragma once
// The collectives of a step and how each is carried out.
#include <string>
#include <vector>

#include "sim/cost_source.hpp"

namespace orrery {

struct CollectiveUse {
  std::string name;  // of the work
  Wire wire;
  std::string method;  // "ring, Simple"
  Seconds alone;       // without other traffic
};

// All-reduces, reduce-scatters and all-gathers between GPUs, each once, in order of first use.
std::vector<CollectiveUse> collectives_of(const Program& program, const CostSource& costs);

}  // namespace orrery
