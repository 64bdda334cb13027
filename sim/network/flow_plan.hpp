#pragma once
// The flows that a simulation may start, and the resources they share.
#include <string>
#include <vector>

#include "core/quantity.hpp"

namespace orrery {

struct Crossing {
  int resource = 0;  // FlowPlan::resources
  int times = 1;
};

struct PlannedFlow {
  bool nic = false;                    // else NVLink
  double share = 1;                    // of what a GPU sends over that medium
  double count = 1;                    // flows of the cluster that it stands for
  int from = -1, to = -1;              // its GPUs, where it stands for itself alone and has two
  int from_class = -1, to_class = -1;  // of its ends; -1 where it has no two or stands for many
  std::vector<Crossing> route;
};

struct PlannedResource {
  BytesPerSecond capacity;  // of one, divided by what all its crossings have in common
  double scale = 1;         // that common divisor
  double count = 1;         // resources of the cluster that it stands for
  std::string name;         // of the first of them
};

struct FlowPlan {
  std::vector<PlannedResource> resources;
  std::vector<PlannedFlow> flows;
  std::vector<std::vector<int>> exchanges;  // flows that start and end together
};

// A flow that was simulated.
struct FlowRecord {
  int flow = 0;  // FlowPlan::flows
  double bytes = 0;
  Seconds start, end;
};

}  // namespace orrery
