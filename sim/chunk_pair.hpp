#pragma once
// One co-scheduled pair on one GPU, by itself: the forward chunk of one micro-batch and the
// backward chunk of another, computation and communication on two streams. It is the Program of a
// single F&B cell, carried out like any other, so the pair inside a step and the pair alone cannot
// differ.
#include <vector>

#include "core/plan.hpp"
#include "core/program.hpp"
#include "sim/cost_source.hpp"

namespace orrery {

struct ChunkPair {
  Seconds wall;
  Seconds compute_busy;  // kernels of the compute stream
  Seconds gaps;          // launch gaps between them
  Seconds stalls;        // the compute stream waits for communication
  Seconds comm_busy;     // exchanges
  // One slot per layer, from the start of its first exchange to the start of the next layer's.
  std::vector<Seconds> slots;

  // As a trace shows it: the time in which no kernel of the compute stream runs.
  Seconds compute_idle() const { return wall - compute_busy; }
};

// A pair of two chunks that both hold `entries`, under the model, cluster, layout and training
// set-up of `plan`.
ChunkPair simulate_chunk_pair(const Plan& plan, const std::vector<LayerKind>& entries,
                              const CostSource& costs);

// The single-cell Program behind it, and the plan that is lowered to it.
Plan chunk_pair_plan(const Plan& plan, const std::vector<LayerKind>& entries);
Program chunk_pair_program(const Plan& plan, const std::vector<LayerKind>& entries);

}  // namespace orrery
