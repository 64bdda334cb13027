#pragma once
// What a step takes and where every second of it goes: the answer of `orrery simulate`.
//
// On each rank the step divides without rest into cells (from the first start to the last end of a
// cell's computation and expert-parallel communication), the optimizer step (gradient reduction,
// update, parameter gathering; its instructions only) and the bubble, which is what remains:
// waiting between cells and for other ranks.
#include <vector>

#include "core/figure.hpp"
#include "planner/memory.hpp"
#include "sim/collective_use.hpp"
#include "sim/cost_source.hpp"

namespace orrery {

struct Breakdown {
  Seconds F, I, W, FB;  // F cells; input and weight halves of I, W and B cells; pairs
  Seconds bubble;
  Seconds optimizer;
  Seconds exposed_comm;  // within cells: communication runs, computation does not
  Seconds wait;          // within cells: neither runs
  Seconds total() const { return F + I + W + FB + bubble + optimizer; }
};

struct RankSummary {
  Rank rank;
  std::vector<Stage> stages;
  Breakdown time;
  int n_F = 0, n_I = 0, n_B = 0, n_W = 0, n_FB = 0;  // cells
  MemoryTable memory;
};

struct StepSummary {
  Seconds step;
  int gpus = 0;
  double tokens_per_day = 0;
  double gpu_hours = 0;  // of Training::tokens at this throughput; 0 if not given
  Dollars cost;
  double days = 0;
  FlopsPerSecond causal, noncausal;  // model FLOPs a GPU (workload/parameters.hpp's convention)
  double mfu_causal = 0, mfu_noncausal = 0;  // against the BF16 peak of the device
  Breakdown mean;                            // over pipeline ranks
  std::vector<RankSummary> ranks;
  AssumedFigures assumed;
  std::vector<CollectiveUse> collectives;
  std::string fidelity;
  long activities = 0;
  int rank_classes = 0;
};

StepSummary summarise(const Plan& plan, const Device& device, const Program& program,
                      const Timeline& timeline, const CostSource& costs);

// The span of each cell of a rank: first start to last end of its computation and exchanges.
std::vector<Span> cell_spans(const Program& program, const Timeline& timeline, Rank rank,
                             std::size_t cells);

}  // namespace orrery
