#pragma once
// Searches the schedule with the shortest makespan on a placement, for given times and a limit of
// activations on every rank, and says how far from a proven lower bound it is.
// What is found has passed the checker and is timed by its cell graph, neither of which the search
// uses.
//
// In rounds: list schedules under many policies first, then chains of annealing from the best
// starting points (families of the placement, list schedules), with the chains that lag taken to
// where the best is after each round; it ends early where the bound is met. The effort counts
// orders timed; small problems are searched exhaustively besides, by up to 220,000 nodes. Equal
// effort and seed give equal results, whatever the number of threads.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/schedule.hpp"
#include "planner/schedules/activation_bytes.hpp"
#include "planner/schedules/lower_bound.hpp"
#include "planner/schedules/request.hpp"
#include "planner/schedules/times.hpp"

namespace orrery {

struct ScheduleSearchRequest {
  // Valid schedules of one placement; those that exceed the limits are left out. The first gives
  // the placement, and may be empty of cells.
  std::vector<Schedule> starts;
  CellTimes times;
  std::vector<int> limits;                    // [rank] chunk activations
  std::optional<ActivationBytes> bytes = {};  // limits in bytes besides
  long effort = 0;  // orders timed, all chains together; 0: default_effort()
  std::uint64_t seed = 1;
};

struct ScheduleSearchResult {
  Schedule schedule;  // family "searched"; no ranks where nothing was found
  // Others that were met on the way, longer and less finely tuned to the times given.
  std::vector<Schedule> others;
  double makespan = 0;
  LowerBound bound;
  double gap = 0;         // makespan / bound - 1
  std::string start;      // where the best came from: a family, or "list"
  double best_start = 0;  // makespan of the best starting point within the limits; 0: none
  long evaluations = 0;   // orders timed
  long nodes = 0;         // of exhaustive searches
  bool proven() const { return gap <= 1e-9; }
};

// Called with the effort spent and the best so far.
using SearchProgress = std::function<void(long spent, long of, double best)>;

// What to start from: the schedule of `kind`, and those of the other families on its placement
// unless it meets the lower bound already. Throws InputError where `kind` has no schedule of this
// size.
std::vector<Schedule> search_starts(std::string_view kind, const ScheduleRequest& request,
                                    const CellTimes& times, const std::vector<int>& limits);

// So many that a search takes at most about half a minute on two cores.
long default_effort(const Schedule& placement);

ScheduleSearchResult search_schedule(const ScheduleSearchRequest& request,
                                     const SearchProgress& progress = {});

}  // namespace orrery
