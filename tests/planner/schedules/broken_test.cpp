// Schedules that were right and have been broken at random: not one passes the checker.
#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "planner/schedules/families.hpp"
#include "planner/schedules/rendezvous.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

using Random = std::mt19937_64;

int pick(Random& random, std::size_t count) {
  return std::uniform_int_distribution(0, static_cast<int>(count) - 1)(random);
}

Schedule draw(Random& random, bool one_chunk) {
  for (;;) {
    const auto families = schedule_families();
    const ScheduleFamily& family =
        families[static_cast<std::size_t>(pick(random, families.size()))];
    if (one_chunk && family.placement != StagePlacement::kOneChunk) continue;
    ScheduleRequest request{.pp = 2 * (1 + pick(random, 3))};
    request.microbatches = request.pp * (2 + pick(random, 2));
    // By rules or blocks, and slower to make than to break.
    if (family.name == "zb-v" && request.pp > 4) continue;
    return family.generate(request);
  }
}

// Where a half of that kind is on the rank; -1 where it is not.
int find(const std::vector<Cell>& cells, const Half& half, bool (Cell::*does)() const,
         bool forward) {
  for (std::size_t cell = 0; cell < cells.size(); ++cell) {
    if ((cells[cell].*does)() && (forward ? cells[cell].forward : cells[cell].backward) == half)
      return static_cast<int>(cell);
  }
  return -1;
}

// A backward put before a forward of its rank that the next rank has before that backward: each
// waits for the other. False where the cell has no such forward.
bool deadlock_at(Schedule& schedule, int rank, int chosen) {
  std::vector<Cell>& cells = schedule.ranks[static_cast<std::size_t>(rank)];
  const std::vector<Cell>& next = schedule.ranks[static_cast<std::size_t>(rank) + 1];
  const Cell backward = cells[static_cast<std::size_t>(chosen)];
  if (!backward.has_input_gradient()) return false;
  const int own = find(cells, backward.backward, &Cell::has_forward, true);
  const int there = find(next, backward.backward, &Cell::has_input_gradient, false);
  for (int cell = own + 1; cell < chosen; ++cell) {
    if (cells[static_cast<std::size_t>(cell)].kind != CellKind::kF) continue;
    const Half& forward = cells[static_cast<std::size_t>(cell)].forward;
    if (find(next, forward, &Cell::has_forward, true) > there) continue;
    cells.erase(cells.begin() + chosen);
    cells.insert(cells.begin() + cell, backward);
    return true;
  }
  return false;
}

// The first that can be made after a random place; false where there is none, as in a pipeline of
// two ranks that alternate.
bool deadlock(Schedule& schedule, Random& random) {
  const int pp = schedule.pp();
  const int first_rank = pick(random, static_cast<std::size_t>(pp));
  for (int rank = 0; rank < pp; ++rank) {
    const int own = (first_rank + rank) % pp;
    if (own + 1 == pp) continue;
    const int cells = static_cast<int>(schedule.ranks[static_cast<std::size_t>(own)].size());
    const int first = pick(random, static_cast<std::size_t>(cells));
    for (int cell = 0; cell < cells; ++cell) {
      if (deadlock_at(schedule, own, (first + cell) % cells)) return true;
    }
  }
  return false;
}

TEST_CASE("the checker rejects more than a thousand broken schedules") {
  Random random(1000);
  int broken[5] = {};
  for (int instance = 0; instance < 1250; ++instance) {
    const int kind = instance % 5;
    Schedule schedule = draw(random, kind >= 3);
    REQUIRE(check_schedule(schedule).empty());
    const int pp = schedule.pp();
    // Rank 0 gets nothing from other ranks that could be swapped.
    const int rank = kind == 3 ? 1 + pick(random, static_cast<std::size_t>(pp - 1))
                               : pick(random, static_cast<std::size_t>(pp));
    std::vector<Cell>& cells = schedule.ranks[static_cast<std::size_t>(rank)];
    const int chosen = pick(random, cells.size());
    CAPTURE(instance, kind, schedule.family, pp, schedule.microbatches, rank, chosen);
    if (kind == 0) {
      cells.erase(cells.begin() + chosen);
    } else if (kind == 1) {
      const Cell copy = cells[static_cast<std::size_t>(chosen)];
      cells.insert(cells.begin() + pick(random, cells.size() + 1), copy);
    } else if (kind == 2) {
      // A backward with the forward that it needs, or a weight gradient with its input gradient.
      const Cell& cell = cells[static_cast<std::size_t>(chosen)];
      int other = -1;
      if (cell.kind == CellKind::kF) {
        other = find(cells, cell.forward, &Cell::has_input_gradient, false);
      } else if (cell.kind == CellKind::kW) {
        other = find(cells, cell.backward, &Cell::has_input_gradient, false);
      } else {
        other = find(cells, cell.backward, &Cell::has_forward, true);
      }
      REQUIRE(other >= 0);
      std::swap(cells[static_cast<std::size_t>(chosen)], cells[static_cast<std::size_t>(other)]);
    } else if (kind == 4) {
      while (!deadlock(schedule, random)) schedule = draw(random, true);
    } else {
      // Two forwards that come over the same link, in another order than they are sent: fine for
      // messages that wait for nobody, a deadlock for those that do.
      std::vector<std::size_t> forwards;
      for (std::size_t cell = 0; cell < cells.size(); ++cell) {
        if (cells[cell].kind == CellKind::kF) forwards.push_back(cell);
      }
      const int first = pick(random, forwards.size() - 1);
      std::swap(cells[forwards[static_cast<std::size_t>(first)]].forward,
                cells[forwards[static_cast<std::size_t>(first) + 1]].forward);
    }
    if (kind == 3) {
      const CellTimes times =
          uniform_times(schedule, without_overlap(Seconds{1}, Seconds{1}, Seconds{1}));
      const auto met = time_rendezvous(schedule, default_p2p_order(schedule), times);
      REQUIRE((met.deadlock || !check_schedule(schedule).empty()));
      if (met.deadlock) {
        CHECK_THAT(*met.deadlock, Catch::Contains("rank") && Catch::Contains("waits to"));
      }
    } else {
      const std::vector<ScheduleFault> faults = check_schedule(schedule);
      REQUIRE_FALSE(faults.empty());
      for (const ScheduleFault& fault : faults) {
        CAPTURE(fault.reason);
        CHECK_FALSE(fault.reason.empty());
        if (kind < 3) CHECK((fault.kind == FaultKind::kDeadlock || fault.rank == Rank{rank}));
        // Nothing is where something is missing.
        CHECK((fault.cell >= 0) == (fault.kind != FaultKind::kMissing));
        if (kind == 4) CHECK(fault.kind == FaultKind::kDeadlock);
      }
    }
    ++broken[kind];
  }
  for (const int count : broken) CHECK(count == 250);
}

}  // namespace
}  // namespace orrery
