#pragma once
// What a schedule does otherwise than another of the same stages and times, rank by rank, in
// figures counted from both: what makes it shorter is to be seen, not told.
#include <string>

#include "core/schedule.hpp"
#include "planner/schedules/times.hpp"

namespace orrery {

// Of one rank.
struct RankChange {
  double busy = 0, idle = 0;  // seconds of cells, and of the makespan without
  int pairs_across = 0;       // F&B of two chunks
  int pairs_within = 0;       // F&B of one chunk
  int weights_apart = 0;      // W on its own
  int forwards_first = 0;     // before the first backward
  int held = 0;               // most activations at once
};
RankChange measure_rank(const Schedule& schedule, const CellTimes& times, Rank rank,
                        double makespan);

// As Markdown: a table of some ranks and their mean, and what follows from it.
std::string schedule_change_text(const Schedule& before, const Schedule& after,
                                 const CellTimes& times);

}  // namespace orrery
