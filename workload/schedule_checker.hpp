#pragma once
// Is a schedule valid? Every schedule, generated, searched or read from a file, passes here before
// it is timed, drawn or lowered. No times are needed: the check is about work and order alone.
//
// Valid means
//   placement  each stage of each direction is hosted by exactly one chunk of one rank, and each
//              rank hosts 1 to 64;
//   range      every cell names a chunk of its rank and a micro-batch of that chunk's direction;
//   work       each micro-batch has on every stage of its direction exactly one F, one input
//              gradient (I, B or a pair) and one weight gradient (W, B or F&B);
//   order      on a stage F comes before I, and I before W;
//   deadlock   there is an order of all cells that respects every rank's list and all data
//              (cell_graph.hpp), for messages that are sent when ready and never block the sender;
//   memory     (on request) no rank ever holds more activations than it may.
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "core/schedule.hpp"

namespace orrery {

enum class FaultKind {
  kPlacement,
  kOutOfRange,
  kWrongDirection,
  kMissing,
  kDuplicate,
  kOrder,
  kDeadlock,
  kMemory,
};

struct ScheduleFault {
  Rank rank;      // invalid where the fault belongs to no single rank
  int cell = -1;  // index into Schedule::ranks[rank]; -1 where there is no such cell (missing work)
  FaultKind kind = FaultKind::kPlacement;
  std::string reason;  // one sentence for a person, rank and cell included
};

// All faults, in a fixed order: by kind as listed above, then by rank and cell. Empty = valid. Of
// deadlocks one cycle is reported, in words. Earlier kinds can hide later ones: a wrong placement
// leaves nothing else to judge, deadlocks are looked for only where every stage has its work in
// order, and memory is counted only where there is no other fault. Of missing and doubled work the
// first 10,000 faults.
std::vector<ScheduleFault> check_schedule(const Schedule& schedule);

// The same, and on each rank the first moment at which it holds more than `activation_limit` chunk
// activations.
std::vector<ScheduleFault> check_schedule(const Schedule& schedule, int activation_limit);
// The same with a limit for each rank.
std::vector<ScheduleFault> check_schedule(const Schedule& schedule,
                                          const std::vector<int>& activation_limits);

// The largest number of chunk activations alive at once, by rank. An activation is alive from the
// start of its F to the end of the cell with its weight gradient (W, B or F&B); a cell's frees come
// before the next cell's allocations. In an F&B cell the forward allocates at the start and the
// backward frees at the end, so the pair itself holds one more than is left after it.
// Times do not matter, because a rank runs its cells one by one. Examples: DualPipe p+1 on every
// rank, 1F1B min(m, p-r) on rank r. A chunk is 1/v of a rank's share where it has v of them in one
// direction.
std::vector<int> peak_activations(const Schedule& schedule);

std::string_view to_string(FaultKind kind);

}  // namespace orrery
