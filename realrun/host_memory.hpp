#pragma once
// What a real run holds in memory for as long as it lasts: of every rank in this process the
// parameters, their gradients, ZeRO shards of both moments and, with FP8, quantised parameters.
// Activations and messages come on top; the predicted memory table has them.
#include "core/plan.hpp"
#include "core/quantity.hpp"
#include "realrun/training.hpp"

namespace orrery {

// `ranks`: the first and the number of those that this process runs.
Bytes host_memory(const Plan& plan, HostScalar scalar, int first_rank, int ranks);

// Throws EnvironmentError where that, of so many runs at once, is more than this machine has.
void check_host_memory(const Plan& plan, HostScalar scalar, int first_rank, int ranks,
                       int runs = 1);

}  // namespace orrery
