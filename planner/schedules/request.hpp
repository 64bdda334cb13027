#pragma once
// What a schedule is asked for: sizes, and for the families that order their cells by time the
// times and the memory they may use.
#include "core/quantity.hpp"
#include "planner/schedules/times.hpp"

namespace orrery {

struct ScheduleRequest {
  int pp = 1;
  int microbatches = 1;  // over both directions
  // Chunks a rank holds of one direction, where the family leaves it open; 0: the family's own.
  int chunks = 0;
  // Of a rank's whole share of the model, for the families that order cells by time (zb-auto,
  // zb-v).
  StageTimes share = {Seconds{1}, Seconds{1}, Seconds{1}, Seconds{3}, Seconds{2}};
  Seconds hop = {};
  // Activations that a rank may hold, in shares of 1/pp of the model; 0: the family's own limit.
  double memory = 0;
};

}  // namespace orrery
