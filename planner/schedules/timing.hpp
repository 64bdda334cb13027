#pragma once
// When the cells of a schedule run, given how long each takes: the longest path over the schedule's
// cell graph (workload/cell_graph.hpp). The model:
//
//   A rank runs its cells in list order, one at a time. A cell starts when the rank is free and all
//   its inputs have arrived. A message between two ranks takes a latency more, within a rank
//   nothing; sending costs the sender no time and links are not shared ("eager"; rendezvous.hpp has
//   the other kind). Every output appears at the end of its cell (W included in B, both halves
//   included in a pair), and a pair starts when the inputs of both halves are there, unless offsets
//   inside the pair are given.
//
// Cost: O(cells), most of it for building the graph; keep the CellGraph to time one schedule often.
// Searches use the compact form in planner/schedules/compact.hpp.
#include <vector>

#include "core/quantity.hpp"
#include "core/schedule.hpp"
#include "core/timeline.hpp"
#include "planner/schedules/times.hpp"
#include "workload/cell_graph.hpp"

namespace orrery {

// Two bubbles are in use. The *makespan* counts if the optimizer step is a barrier (a global
// gradient norm); the *window*, the longest time from a rank's first start to its own last end, if
// every rank starts its next step as soon as it is done (Qi et al., "Zero Bubble Pipeline
// Parallelism", arXiv 2401.10241).
struct ScheduleTiming {
  std::vector<std::vector<Span>> cells;  // [rank][cell], from 0
  std::vector<Seconds> busy;             // [rank]; a pair counts for its own, overlapped length
  std::vector<Seconds> windows;          // [rank]
  Seconds makespan;
  Seconds window;              // the longest
  Seconds period;              // of a micro-batch in the middle half of the step (period.hpp)
  double bubble_fraction = 0;  // 1 - mean busy / makespan
  double window_bubble = 0;    // 1 - largest busy / window
};

// `schedule` has passed check_schedule(); timing one that deadlocks is a bug.
ScheduleTiming time_schedule(const Schedule& schedule, const CellTimes& times);
ScheduleTiming time_schedule(const Schedule& schedule, const CellGraph& graph,
                             const CellTimes& times);

// The figures that follow from the spans. `timing.cells` is set.
void summarise_spans(const Schedule& schedule, const CellTimes& times, ScheduleTiming& timing);

// One cell of the longest chain of waits that ends with the last cell of all.
struct CriticalCell {
  CellPosition at;
  WaitKind why = WaitKind::kRankOrder;  // what its start waited for: that is the cell before it
  Seconds latency;                      // of the message it waited for
};

// From the first cell to the last. Each starts the moment the one before has let it.
std::vector<CriticalCell> critical_cells(const Schedule& schedule, const CellGraph& graph,
                                         const CellTimes& times, const ScheduleTiming& timing);

}  // namespace orrery
