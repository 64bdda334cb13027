#pragma once
// Memory of activations for schedules of placements on which their number does not say it: stages
// differ, and a weight gradient that waits keeps its operands but no longer all of the activations.
#include <vector>

#include "core/quantity.hpp"
#include "workload/lifetimes.hpp"

namespace orrery {

// Of one micro-batch. A cell goes through its layers one by one, each making its tensors when it
// begins and freeing them when it ends (workload/lower.hpp).
struct StageBytes {
  Lifetimes all;              // of all layers
  Bytes largest_activations;  // what the layer with most of them makes in F
  Bytes largest_operands;     // likewise in I, for W
};

struct ActivationBytes {
  std::vector<std::vector<StageBytes>> stages;  // [direction][stage]
  std::vector<Bytes> limits;                    // [rank]
};

}  // namespace orrery
