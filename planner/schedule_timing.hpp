#pragma once
// When the cells of a schedule run, given how long each takes: the longest path over the schedule's
// cell graph (workload/cell_graph.hpp). The model:
//
//   A rank runs its cells in list order, one at a time. A cell starts when the rank is free and all
//   its inputs have arrived. A message between two ranks takes `hop` more, within a rank nothing;
//   sending costs the sender no time and links are not shared ("eager"). Cells are atomic: every
//   output appears at the end of its cell (W included in B, both halves included in a pair), and a
//   pair starts when the inputs of both halves are there.
//
// Cost: O(cells), most of it for building the graph; keep the CellGraph to time one schedule often.
#include <vector>

#include "core/quantity.hpp"
#include "core/schedule.hpp"
#include "core/timeline.hpp"
#include "workload/cell_graph.hpp"

namespace orrery {

// Durations of one stage's cells, in the letters of core/schedule.hpp. B takes I + W.
struct StageTimes {
  Seconds F;
  Seconds I;
  Seconds W;
  Seconds FB;  // a pair whose *forward* half is this stage, whatever the stage of its backward half
  Seconds FI;  // the same with an input gradient only
};

// Times of a stage whose pairs gain nothing from being overlapped: FB = F + I + W, FI = F + I.
StageTimes without_overlap(Seconds F, Seconds I, Seconds W);

struct CellTimes {
  std::vector<std::vector<StageTimes>> stages;  // [direction][stage]
  Seconds hop;                                  // latency of a message between two ranks

  const StageTimes& at(ChunkPlace place) const {
    return stages[static_cast<std::size_t>(place.direction)][place.stage.index()];
  }
};

// The same times for every stage of every direction.
CellTimes uniform_times(const Schedule& schedule, const StageTimes& stage, Seconds hop = {});

// How long `cell` of `rank` takes.
Seconds cell_duration(const Schedule& schedule, Rank rank, const Cell& cell,
                      const CellTimes& times);

// Two bubbles are in use. The *makespan* counts if the optimizer step is a barrier (a global
// gradient norm); the *window*, the longest time from a rank's first start to its own last end, if
// every rank starts its next step as soon as it is done (Qi et al., "Zero Bubble Pipeline
// Parallelism", arXiv 2401.10241).
struct ScheduleTiming {
  std::vector<std::vector<Span>> cells;  // [rank][cell], from 0
  std::vector<Seconds> busy;             // [rank]; a pair counts for its own, overlapped length
  Seconds makespan;
  Seconds window;
  double bubble_fraction = 0;  // 1 - mean busy / makespan
  double window_bubble = 0;    // 1 - largest busy / window
};

// `schedule` has passed check_schedule(); timing one that deadlocks is a bug.
ScheduleTiming time_schedule(const Schedule& schedule, const CellTimes& times);
ScheduleTiming time_schedule(const Schedule& schedule, const CellGraph& graph,
                             const CellTimes& times);

}  // namespace orrery
