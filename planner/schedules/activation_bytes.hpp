#pragma once
// What activations take in memory, for placements on which their number does not say it: stages
// differ, and a weight gradient that waits keeps its operands but no longer all of the activations.
// Where a cell has several layers, each makes its tensors when it begins and frees them when it
// ends (workload/lower.hpp).
#include <vector>

#include "core/quantity.hpp"

namespace orrery {

// Of one micro-batch of a stage.
struct StageBytes {
  Bytes until_gradient;  // made in F, freed after I
  Bytes until_weight;    // made in F, freed after W
  Bytes operands;        // made in I, freed after W
  // Of its largest layer: what is made before the layer's other tensors are freed.
  Bytes layer_activations;
  Bytes layer_operands;
};

struct ActivationBytes {
  std::vector<std::vector<StageBytes>> stages;  // [direction][stage]
  std::vector<Bytes> limits;                    // [rank]
};

}  // namespace orrery
