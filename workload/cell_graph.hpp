#pragma once
// Which cells of a schedule must end before which others may start: the graph behind both the
// validity check (a cycle is a deadlock) and the timing (the longest path is the makespan). It is
// built once per schedule and holds no times, so one graph serves any number of evaluations.
//
// A vertex is a cell, numbered rank by rank in list order. A cell waits for
//   its predecessor on its rank;
//   F of its micro-batch on the previous stage, if it has a forward half;
//   the input gradient of its micro-batch on the next stage, if it has a backward half.
// That F comes before I and I before W on one stage follows from the list order; only where a list
// has them backwards is the wait added, so that the contradiction shows up as a cycle.
//
// Cells that name no valid work (see resolve()) keep their place in the list but give and get no
// data. Cost: O(cells) to build and to sort; the graph algorithms are Boost.Graph's.
#include <optional>
#include <span>
#include <vector>

#include "core/ids.hpp"
#include "core/schedule.hpp"

namespace orrery {

enum class WaitKind { kRankOrder, kForward, kGradient, kOwnForward, kOwnInputGradient };

// `after` cannot start before `before` has ended; both are vertices.
struct CellWait {
  int before = -1;
  int after = -1;
  WaitKind kind = WaitKind::kRankOrder;
  bool between_ranks = false;  // a message: a hop latency applies
};

struct CellPosition {
  Rank rank;
  int cell = -1;  // index into Schedule::ranks[rank]
  bool operator==(const CellPosition&) const = default;
};

// The stage that a half of a cell of `rank` works on, or nothing where the half is invalid: its
// chunk or micro-batch does not exist, or the micro-batch travels in the other direction.
std::optional<ChunkPlace> resolve(const Schedule& schedule, Rank rank, const Half& half);

class CellGraph {
 public:
  // Every chunk of `schedule` has a stage; its cells may be wrong.
  explicit CellGraph(const Schedule& schedule);

  int cells() const { return static_cast<int>(positions_.size()); }
  CellPosition position(int vertex) const { return positions_[static_cast<std::size_t>(vertex)]; }

  // What `vertex` waits for.
  std::span<const CellWait> waits_of(int vertex) const {
    const auto first = first_wait_[static_cast<std::size_t>(vertex)];
    const auto last = first_wait_[static_cast<std::size_t>(vertex) + 1];
    return std::span(waits_).subspan(first, last - first);
  }

  bool deadlocks() const { return order_.empty() && !positions_.empty(); }
  // Every vertex after all that it waits for; empty if the schedule deadlocks.
  std::span<const int> order() const { return order_; }

  // A cycle that is short to tell: with the fewest waits that are not list order (of the cycles
  // through some 256 starting points). cycle[n].after == cycle[n + 1].before, the last one closing
  // it. Empty if there is no deadlock.
  std::vector<CellWait> short_cycle() const;

 private:
  void sort();

  std::vector<CellPosition> positions_;
  std::vector<CellWait> waits_;  // by vertex `after`
  std::vector<std::size_t> first_wait_;
  std::vector<int> order_;
};

}  // namespace orrery
