#include "planner/schedules/v_blocks.hpp"

#include <array>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "planner/schedules/rank_cells.hpp"
#include "planner/schedules/shortest_order.hpp"
#include "planner/schedules/v_grid.hpp"

namespace orrery {
namespace {

constexpr int kPeriod = 6;  // slots: F, I and W of both chunks

// The block of a micro-batch, repeated: `down` slots from rank to rank on the way down and one on
// the way up, `turn` slots longer than need be at the three turns of the way; nothing where two
// cells of a rank would fall on one slot.
std::optional<VGrid> repeat_block(int p, int microbatches, int down,
                                  const std::array<int, 3>& turn) {
  VGrid grid;
  const int last = down * (p - 1);               // F of chunk 0 on the last rank
  const int back = last + 1 + turn[0];           // F of chunk 1 there
  const int top = back + (p - 1) + 1 + turn[1];  // I of chunk 1 on rank 0
  const int bottom = top + last + 1 + turn[2];   // I of chunk 0 on the last rank
  for (int rank = 0; rank < p; ++rank) {
    const int up = p - 1 - rank;
    const std::array<int, kSteps> block = {down * rank, back + up, top + down * rank, bottom + up};
    std::array<bool, kPeriod> taken{};
    auto& slots = grid.emplace_back();
    for (std::size_t step = 0; step < kSteps; ++step) {
      bool& place = taken[static_cast<std::size_t>(block[step] % kPeriod)];
      if (place) return std::nullopt;
      place = true;
      for (int number = 0; number < microbatches; ++number)
        slots[step].push_back(block[step] + kPeriod * number);
    }
  }
  return grid;
}

// Of the blocks that fit their slots the one with the fewest activations, and of those the fastest
// for the times given, reordered or not and its waits filled.
Schedule generate(std::string_view family, const ScheduleRequest& request, int down) {
  Schedule schedule = v_schedule(family, request);
  CompactProblem problem =
      compact_problem(schedule, times_of_share(schedule, request.share, request.hop),
                      std::vector<int>(schedule.ranks.size(), 1));
  std::vector<VGrid> grids;  // with the fewest activations
  int least = std::numeric_limits<int>::max();
  for (int turns = 0; turns < kPeriod * kPeriod * kPeriod; ++turns) {
    auto grid =
        repeat_block(request.pp, request.microbatches, down,
                     {turns / (kPeriod * kPeriod), turns / kPeriod % kPeriod, turns % kPeriod});
    if (!grid) continue;
    const int peak = peak_of(*grid);
    if (peak > least) continue;
    if (peak < least) grids.clear();
    least = peak;
    grids.push_back(std::move(*grid));
  }
  problem.limits.assign(schedule.ranks.size(), least);
  ShortestOrder best(problem);
  for (const VGrid& grid : grids) {
    best.consider(order_of(grid));
    best.consider(order_of(reorder(grid)));
  }
  ORRERY_CHECK(best.order(), "no building block for {} with pp={}", family, request.pp);
  return expand_order(schedule, *best.order());
}

}  // namespace

std::optional<std::string> v_min_why_not(const ScheduleRequest& request) {
  return no_room("v-min", request);
}

Schedule v_min(const ScheduleRequest& request) {
  refuse(v_min_why_not(request));
  return generate("v-min", request, 1);
}

std::optional<std::string> v_half_why_not(const ScheduleRequest& request) {
  return no_room("v-half", request);
}

Schedule v_half(const ScheduleRequest& request) {
  refuse(v_half_why_not(request));
  return generate("v-half", request, 2);
}

}  // namespace orrery
