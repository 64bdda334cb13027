#include "planner/schedules/v_blocks.hpp"

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "planner/schedules/fill_waits.hpp"
#include "planner/schedules/rank_cells.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

constexpr int kPeriod = 6;

// Slots of a micro-batch on one rank: F and I of both chunks, then W of both.
struct Block {
  std::array<int, 2> forward, gradient, weight;  // by chunk
};

int modulo(int slot) {
  return ((slot % kPeriod) + kPeriod) % kPeriod;
}

// The block on every rank, `turn_*` slots longer than need be at the three turns of the way;
// nothing where two cells of a rank would fall on one slot.
std::optional<std::vector<Block>> make_blocks(int p, int down, const std::array<int, 3>& turn) {
  std::vector<Block> blocks;
  const int last = down * (p - 1);               // F of chunk 0 on the last rank
  const int back = last + 1 + turn[0];           // F of chunk 1 there
  const int top = back + (p - 1) + 1 + turn[1];  // I of chunk 1 on rank 0
  const int bottom = top + last + 1 + turn[2];   // I of chunk 0 on the last rank
  for (int rank = 0; rank < p; ++rank) {
    const int up = p - 1 - rank;
    Block block;
    block.forward = {down * rank, back + up};
    block.gradient = {bottom + up, top + down * rank};
    std::array<bool, kPeriod> taken{};
    for (const int slot :
         {block.forward[0], block.forward[1], block.gradient[0], block.gradient[1]}) {
      bool& place = taken[static_cast<std::size_t>(modulo(slot))];
      if (place) return std::nullopt;
      place = true;
    }
    // W's as soon as there is a slot, that of chunk 1 first: its I comes first.
    for (const std::size_t chunk : {std::size_t{1}, std::size_t{0}}) {
      int slot = block.gradient[chunk] + 1;
      while (taken[static_cast<std::size_t>(modulo(slot))]) ++slot;
      taken[static_cast<std::size_t>(modulo(slot))] = true;
      block.weight[chunk] = slot;
    }
    blocks.push_back(block);
  }
  return blocks;
}

Schedule repeat(std::string_view family, const ScheduleRequest& request,
                const std::vector<Block>& blocks) {
  Schedule schedule = v_schedule(family, request);
  struct Slot {
    int slot;
    Cell cell;
  };
  for (std::size_t rank = 0; rank < blocks.size(); ++rank) {
    std::vector<Slot> slots;
    for (int number = 0; number < request.microbatches; ++number) {
      const Microbatch microbatch{number};
      const int shift = kPeriod * number;
      for (std::size_t index = 0; index < 2; ++index) {
        const ChunkId chunk{static_cast<int>(index)};
        const Block& block = blocks[rank];
        slots.push_back({block.forward[index] + shift, forward_cell(microbatch, chunk)});
        slots.push_back(
            {block.gradient[index] + shift, backward_cell(CellKind::kI, microbatch, chunk)});
        slots.push_back(
            {block.weight[index] + shift, backward_cell(CellKind::kW, microbatch, chunk)});
      }
    }
    std::sort(slots.begin(), slots.end(),
              [](const Slot& a, const Slot& b) { return a.slot < b.slot; });
    for (const Slot& slot : slots) schedule.ranks[rank].push_back(slot.cell);
  }
  return schedule;
}

// Of the blocks that fit their slots the one with the fewest activations, and of those the fastest
// for the times given, its waits filled.
Schedule generate(std::string_view family, const ScheduleRequest& request, int down) {
  std::optional<Schedule> best;
  int least = 0;
  double fastest = 0;
  for (int first = 0; first < kPeriod; ++first) {
    for (int second = 0; second < kPeriod; ++second) {
      for (int third = 0; third < kPeriod; ++third) {
        const auto blocks = make_blocks(request.pp, down, {first, second, third});
        if (!blocks) continue;
        Schedule schedule = repeat(family, request, *blocks);
        const std::vector<int> peaks = peak_activations(schedule);
        const int peak = *std::max_element(peaks.begin(), peaks.end());
        if (best && peak > least) continue;
        const CompactProblem problem =
            compact_problem(schedule, times_of_share(schedule, request.share, request.hop),
                            std::vector<int>(schedule.ranks.size(), peak));
        const CompactOrder filled = fill_waits(problem, *compact_order(schedule));
        const double makespan = CompactTimer(problem).makespan(filled);
        if (best && peak == least && makespan >= fastest) continue;
        best = expand_order(schedule, filled);
        least = peak;
        fastest = makespan;
      }
    }
  }
  ORRERY_CHECK(best.has_value(), "no building block for {} with pp={}", family, request.pp);
  return std::move(*best);
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
