#include "planner/schedules/v_grid.hpp"

#include <algorithm>
#include <utility>

namespace orrery {
namespace {

constexpr std::size_t kWeight = kSteps;  // of either chunk
constexpr std::size_t kIdle = kSteps + 1;

using RankSlots = std::array<std::vector<int>, kSteps>;

// [slot]: the step that fills it.
std::vector<std::size_t> timeline(const RankSlots& slots) {
  int last = 0;
  for (const auto& step : slots) last = std::max(last, step.back());
  std::vector<std::size_t> filled(static_cast<std::size_t>(last) + 1, kIdle);
  for (std::size_t step = 0; step < kSteps; ++step) {
    for (const int slot : slots[step]) filled[static_cast<std::size_t>(slot)] = step;
  }
  return filled;
}

bool is_gradient(std::size_t step) {
  return step == kGradientUp || step == kGradientDown;
}
bool is_forward(std::size_t step) {
  return step == kForwardDown || step == kForwardUp;
}

// The slots of the weight gradients: idle ones, and as many after the last as are still needed.
std::vector<int> weight_slots(const RankSlots& slots) {
  std::vector<int> weights;
  int waiting = 0, slot = 0;
  for (const std::size_t step : timeline(slots)) {
    if (is_gradient(step)) ++waiting;
    if (step == kIdle && waiting > 0) {
      --waiting;
      weights.push_back(slot);
    }
    ++slot;
  }
  for (; waiting > 0; --waiting) weights.push_back(slot++);
  return weights;
}

// The most activations at once on a rank, which has these steps in its slots and these weight
// gradients.
int peak_with(const std::vector<std::size_t>& filled, const std::vector<int>& weights) {
  std::size_t next = 0;
  int live = 0, most = 0;
  for (std::size_t slot = 0; slot < filled.size(); ++slot) {
    if (is_forward(filled[slot])) most = std::max(most, ++live);
    if (next < weights.size() && weights[next] == static_cast<int>(slot)) {
      ++next;
      --live;
    }
  }
  return most;
}

// The same with the weight gradients of weight_slots().
int peak_drained(const std::vector<std::size_t>& filled) {
  int live = 0, most = 0, waiting = 0;
  for (const std::size_t step : filled) {
    if (is_forward(step)) {
      most = std::max(most, ++live);
    } else if (is_gradient(step)) {
      ++waiting;
    } else if (waiting > 0) {
      --waiting;
      --live;
    }
  }
  return most;
}

struct GridCell {
  int slot;
  std::size_t rank, step, number;
};

// With the weight gradients where they are in `weights`, if it has any.
std::vector<GridCell> cells_in_time(const VGrid& grid,
                                    const std::vector<std::vector<int>>& weights) {
  std::vector<GridCell> cells;
  for (std::size_t rank = 0; rank < grid.size(); ++rank) {
    for (std::size_t step = 0; step < kSteps; ++step) {
      for (std::size_t number = 0; number < grid[rank][step].size(); ++number)
        cells.push_back({grid[rank][step][number], rank, step, number});
    }
    if (weights.empty()) continue;
    for (std::size_t number = 0; number < weights[rank].size(); ++number)
      cells.push_back({weights[rank][number], rank, kWeight, number});
  }
  std::stable_sort(cells.begin(), cells.end(),
                   [](const GridCell& a, const GridCell& b) { return a.slot < b.slot; });
  return cells;
}

// The number at `place` of two ascending lists together.
int of_both(const std::vector<int>& a, const std::vector<int>& b, std::size_t place) {
  // So many of `a` come before it that the others of `b` do too.
  std::size_t least = place >= b.size() ? place - b.size() : 0;
  std::size_t most = std::min(place, a.size());
  while (least < most) {
    const std::size_t from_a = (least + most) / 2;
    if (a[from_a] < b[place - from_a - 1]) {
      least = from_a + 1;
    } else {
      most = from_a;
    }
  }
  const std::size_t from_b = place - least;
  if (least == a.size()) return b[from_b];
  if (from_b == b.size()) return a[least];
  return std::min(a[least], b[from_b]);
}

// The slot before which a cell cannot be: after those of what it needs, and of the one before it.
int earliest(const VGrid& grid, const std::vector<std::vector<int>>& weights,
             const GridCell& cell) {
  const auto& own = grid[cell.rank];
  int after = -1;
  if (cell.step == kWeight) {
    after = of_both(own[kGradientUp], own[kGradientDown], cell.number);
    if (cell.number > 0) after = std::max(after, weights[cell.rank][cell.number - 1]);
    return after + 1;
  }
  const bool from_before = cell.step == kForwardDown || cell.step == kGradientUp;
  if (from_before && cell.rank > 0)
    after = std::max(after, grid[cell.rank - 1][cell.step][cell.number]);
  if (!from_before && cell.rank + 1 < grid.size())
    after = std::max(after, grid[cell.rank + 1][cell.step][cell.number]);
  if (cell.step > 0) after = std::max(after, own[cell.step - 1][cell.number]);
  if (cell.number > 0) after = std::max(after, own[cell.step][cell.number - 1]);
  return after + 1;
}

std::vector<std::vector<int>> all_weight_slots(const VGrid& grid) {
  std::vector<std::vector<int>> weights;
  for (const RankSlots& slots : grid) weights.push_back(weight_slots(slots));
  return weights;
}

// Every cell as early as the order of its rank allows.
void squeeze(VGrid& grid, std::vector<std::vector<int>>& weights) {
  std::vector<int> free(grid.size(), 0);
  for (const GridCell& cell : cells_in_time(grid, weights)) {
    const int slot = std::max(free[cell.rank], earliest(grid, weights, cell));
    int& own = cell.step == kWeight ? weights[cell.rank][cell.number]
                                    : grid[cell.rank][cell.step][cell.number];
    own = slot;
    free[cell.rank] = slot + 1;
  }
}

// Moves cells, in time, to the first idle slot that leaves the peak. Weight gradients are cells
// like others, or give way and fill what is idle then; only with them the warm-up moves too.
void advance_cells(VGrid& grid, bool with_weights, int limit) {
  std::vector<std::vector<int>> weights;
  if (with_weights) weights = all_weight_slots(grid);
  std::vector<std::vector<char>> taken(grid.size());
  std::vector<std::vector<std::size_t>> filled;  // [rank][slot], without weight gradients
  for (const RankSlots& slots : grid) filled.push_back(timeline(slots));
  enum { kWarmUp, kSteady, kCoolDown } phase = kWarmUp;
  for (const GridCell& cell : cells_in_time(grid, weights)) {
    auto& own = taken[cell.rank];
    if (own.size() <= static_cast<std::size_t>(cell.slot))
      own.resize(static_cast<std::size_t>(cell.slot) + 1, 0);
    if (phase == kWarmUp && cell.rank == 0 && cell.step == kGradientDown) phase = kSteady;
    const bool last_intake =
        cell.step == kForwardDown && cell.number + 1 == grid.front()[kForwardDown].size();
    const bool stays = phase == kSteady || (phase == kWarmUp && !with_weights);
    if (phase == kSteady && last_intake) phase = kCoolDown;
    int slot = cell.slot;
    if (!stays) {
      int& place = cell.step == kWeight ? weights[cell.rank][cell.number]
                                        : grid[cell.rank][cell.step][cell.number];
      std::vector<std::size_t>& steps = filled[cell.rank];
      for (slot = earliest(grid, weights, cell); slot < cell.slot; ++slot) {
        if (own[static_cast<std::size_t>(slot)] != 0) continue;
        place = slot;
        if (cell.step == kWeight) break;  // sooner, it only makes room
        std::swap(steps[static_cast<std::size_t>(slot)],
                  steps[static_cast<std::size_t>(cell.slot)]);
        // As long as weight gradients stay, only an earlier forward takes room.
        if (with_weights && is_gradient(cell.step)) break;
        if ((with_weights ? peak_with(steps, weights[cell.rank]) : peak_drained(steps)) <= limit)
          break;
        std::swap(steps[static_cast<std::size_t>(slot)],
                  steps[static_cast<std::size_t>(cell.slot)]);
      }
      place = slot;
    }
    own[static_cast<std::size_t>(slot)] = 1;
  }
  if (!with_weights) weights = all_weight_slots(grid);
  squeeze(grid, weights);
}

}  // namespace

int peak_of(const VGrid& grid) {
  int most = 0;
  for (const RankSlots& slots : grid) most = std::max(most, peak_drained(timeline(slots)));
  return most;
}

VGrid reorder(VGrid grid) {
  advance_cells(grid, true, peak_of(grid));
  advance_cells(grid, false, peak_of(grid));
  return grid;
}

CompactOrder order_of(const VGrid& grid) {
  constexpr std::array<std::uint8_t, kSteps> kChunk = {0, 1, 1, 0};
  CompactOrder order;
  for (const RankSlots& slots : grid) {
    std::vector<Token>& tokens = order.emplace_back();
    std::array<int, 2> waiting{};  // weight gradients, by chunk
    const auto put_weight = [&] {
      const std::uint8_t chunk = waiting[1] > 0 ? 1 : 0;
      if (waiting[chunk] == 0) return false;
      --waiting[chunk];
      tokens.push_back({CellKind::kW, chunk, chunk});
      return true;
    };
    for (const std::size_t step : timeline(slots)) {
      if (step == kIdle) {
        put_weight();
        continue;
      }
      const std::uint8_t chunk = kChunk[step];
      tokens.push_back({is_forward(step) ? CellKind::kF : CellKind::kI, chunk, chunk});
      if (is_gradient(step)) ++waiting[chunk];
    }
    while (put_weight()) {
    }
  }
  return order;
}

}  // namespace orrery
