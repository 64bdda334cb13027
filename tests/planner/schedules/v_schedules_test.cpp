// How the schedules of two chunks placed as a V are put together.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>

#include "planner/schedules/rank_cells.hpp"
#include "planner/schedules/v_grid.hpp"
#include "planner/schedules/v_rounds.hpp"

namespace orrery {
namespace {

CompactProblem problem_of(int pp, int microbatches, const StageTimes& share, int limit,
                          Seconds hop = {}) {
  const Schedule placement = v_schedule("v", {.pp = pp, .microbatches = microbatches});
  return compact_problem(placement, times_of_share(placement, share, hop),
                         std::vector<int>(static_cast<std::size_t>(pp), limit));
}

bool keeps_limits_of(const CompactProblem& problem, const CompactOrder& order) {
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    if (!keeps_limit(problem, rank, order[rank])) return false;
  }
  return true;
}

// The block of V-Min (down = 1) or V-Half (2), with the turns that its figure in the paper has.
VGrid block(int pp, int microbatches, int down, std::array<int, 3> turn) {
  VGrid grid;
  for (int rank = 0; rank < pp; ++rank) {
    const int last = down * (pp - 1), up = pp - 1 - rank;
    const int back = last + 1 + turn[0], top = back + pp + turn[1],
              bottom = top + last + 1 + turn[2];
    auto& slots = grid.emplace_back();
    const std::array<int, kSteps> first = {down * rank, back + up, top + down * rank, bottom + up};
    for (std::size_t step = 0; step < kSteps; ++step) {
      for (int number = 0; number < microbatches; ++number)
        slots[step].push_back(first[step] + 6 * number);
    }
  }
  return grid;
}

// With equal times the idle is that of the way to the last rank, half a share's forward on each
// before it: (p - 1) F / 2, the lower bound, and what the public scheduler's orders have.
TEST_CASE("rounds on a V leave no more idle than the way to the last rank when times are equal") {
  const StageTimes share = without_overlap(Seconds{1}, Seconds{1}, Seconds{1});
  for (const int pp : {2, 4, 8, 16}) {
    for (const int microbatches : {2 * pp, 3 * pp, 5 * pp + 1}) {
      const CompactProblem problem = problem_of(pp, microbatches, share, 2 * pp);
      double best = CompactTimer::kDeadlock;
      for (const CompactOrder& order : v_rounds(problem)) {
        REQUIRE(keeps_limits_of(problem, order));
        best = std::min(best, CompactTimer(problem).makespan(order));
      }
      CAPTURE(pp, microbatches);
      CHECK_THAT(best, Catch::WithinAbs(3 * microbatches + (pp - 1) / 2.0, 1e-9));
    }
  }
}

TEST_CASE("rounds on a V keep the limits of ranks of any kind or find no way") {
  const StageTimes share = without_overlap(Seconds{1}, Seconds{1.3}, Seconds{0.4});
  int found = 0;
  for (const int pp : {2, 3, 5, 8}) {
    for (const int limit : {1, 2, pp, 2 * pp - 1, 2 * pp, 3 * pp}) {
      CompactProblem problem = problem_of(pp, 2 * pp + 1, share, limit, Seconds{0.2});
      for (std::size_t slot = 0; slot < problem.slots.size(); ++slot)
        problem.slots[slot].F *= 1 + 0.1 * static_cast<double>(slot % 3);
      for (const CompactOrder& order : v_rounds(problem)) {
        ++found;
        CAPTURE(pp, limit);
        CHECK(keeps_limits_of(problem, order));
        CHECK(CompactTimer(problem).makespan(order) < CompactTimer::kDeadlock);
      }
    }
  }
  CHECK(found > 0);
}

// Peaks: (p + 2) div 2 shares of V-Half, (p + 4) div 3 of V-Min, twice as many half-chunks. Idle:
// of the public scheduler's orders in the reference table (F = I = W = 1, 24 micro-batches).
TEST_CASE("a block on a grid has its published peak, and reordering shortens it and keeps it") {
  struct Published {
    int pp, down;
    std::array<int, 3> turn;
    int peak;
    double idle;
  };
  const StageTimes share = without_overlap(Seconds{1}, Seconds{1}, Seconds{1});
  for (const auto& [pp, down, turn, peak, idle] :
       {Published{4, 2, {0, 3, 1}, 6, 2.5}, Published{8, 2, {0, 3, 1}, 10, 8.5},
        Published{4, 1, {0, 0, 0}, 4, 5.5}, Published{8, 1, {0, 0, 0}, 8, 13.5}}) {
    constexpr int kMicrobatches = 24;
    const VGrid grid = block(pp, kMicrobatches, down, turn);
    CAPTURE(pp, down);
    CHECK(peak_of(grid) == peak);
    const VGrid reordered = reorder(grid);
    CHECK(peak_of(reordered) <= peak);
    const CompactProblem problem = problem_of(pp, kMicrobatches, share, peak);
    CompactTimer timer(problem);
    REQUIRE(keeps_limits_of(problem, order_of(grid)));
    REQUIRE(keeps_limits_of(problem, order_of(reordered)));
    const double before = timer.makespan(order_of(grid)),
                 after = timer.makespan(order_of(reordered));
    CHECK(after <= before + 1e-9);
    CHECK_THAT(after, Catch::WithinAbs(3 * kMicrobatches + idle, 1e-9));
  }
}

}  // namespace
}  // namespace orrery
