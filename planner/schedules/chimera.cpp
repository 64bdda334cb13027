#include "planner/schedules/chimera.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "planner/schedules/rank_cells.hpp"

namespace orrery {

std::optional<std::string> chimera_why_not(const ScheduleRequest& request) {
  if (auto reason = no_room("chimera", request)) return reason;
  if (request.pp % 2 != 0)
    return fmt::format("chimera needs an even number of pipeline ranks, not pp={}", request.pp);
  if (request.microbatches % request.pp != 0) {
    return fmt::format(
        "chimera needs a number of micro-batches that is a multiple of pp={}, not {}", request.pp,
        request.microbatches);
  }
  return std::nullopt;
}

Schedule chimera(const ScheduleRequest& request) {
  refuse(chimera_why_not(request), "choose an even pp and a multiple of it as micro-batches");
  const int p = request.pp;
  Schedule schedule = bidirectional_schedule("chimera", request);
  struct Slot {
    int slot;
    Cell cell;
  };
  for (int rank = 0; rank < p; ++rank) {
    for (int unit = 0; unit < request.microbatches / p; ++unit) {
      std::vector<Slot> slots;
      for (int direction = 0; direction < 2; ++direction) {
        const int stage = direction == 0 ? rank : p - 1 - rank;
        const ChunkId chunk{direction};
        for (int i = 0; i < p / 2; ++i) {
          const Microbatch microbatch{direction * request.microbatches / 2 + unit * p / 2 + i};
          slots.push_back({2 * i + stage, forward_cell(microbatch, chunk)});
          slots.push_back(
              {p + 2 * i + (p - 1 - stage), backward_cell(CellKind::kB, microbatch, chunk)});
        }
      }
      // The slots of a rank are distinct: its two stages differ in parity.
      std::sort(slots.begin(), slots.end(),
                [](const Slot& a, const Slot& b) { return a.slot < b.slot; });
      for (const Slot& slot : slots)
        schedule.ranks[static_cast<std::size_t>(rank)].push_back(slot.cell);
    }
  }
  return schedule;
}

}  // namespace orrery
