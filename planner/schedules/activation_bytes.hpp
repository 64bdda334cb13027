#pragma once
// Memory of activations for schedules of placements on which their number does not say it: stages
// differ, and a weight gradient that waits keeps its operands but no longer all of the activations.
#include <span>
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
  Bytes backward_peak = {};   // what a full backward has at most beside what was there before it
};

struct LayerBytes {
  Lifetimes memory;
  // Its backward begins with a transfer, so that it has its operands while the weight gradients of
  // the layer behind it still run.
  bool transfers_first = false;
};

// `layers` in model order.
StageBytes stage_bytes(std::span<const LayerBytes> layers);

struct ActivationBytes {
  std::vector<std::vector<StageBytes>> stages;  // [direction][stage]
  std::vector<Bytes> limits;                    // [rank]
};

}  // namespace orrery
