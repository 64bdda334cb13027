#include "planner/schedules/serial_order.hpp"

#include <algorithm>

namespace orrery {

CompactOrder serial_order(const CompactProblem& problem) {
  CompactOrder order(problem.of_rank.size());
  const auto put = [&](CellKind kind, int index) {
    const auto rank = static_cast<std::size_t>(problem.slots[static_cast<std::size_t>(index)].rank);
    const auto& chunks = problem.of_rank[rank];
    const auto chunk =
        static_cast<std::uint8_t>(std::find(chunks.begin(), chunks.end(), index) - chunks.begin());
    order[rank].push_back({kind, chunk, chunk});
  };
  for (int number = 0; number < problem.microbatches; ++number) {
    for (std::size_t first = 0; first < problem.slots.size(); ++first) {
      const Slot& head = problem.slots[first];
      if (head.previous >= 0 || number >= head.microbatches) continue;
      int last = -1;
      for (int index = static_cast<int>(first); index >= 0;
           index = problem.slots[static_cast<std::size_t>(index)].next) {
        put(CellKind::kF, index);
        last = index;
      }
      for (int index = last; index >= 0;
           index = problem.slots[static_cast<std::size_t>(index)].previous) {
        put(CellKind::kI, index);
        put(CellKind::kW, index);
      }
    }
  }
  return order;
}

}  // namespace orrery
