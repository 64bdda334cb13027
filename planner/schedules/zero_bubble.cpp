#include "planner/schedules/zero_bubble.hpp"

#include <algorithm>

#include "planner/schedules/rank_cells.hpp"

namespace orrery {
namespace {

// Rank r takes in `ahead` (p-1-r) forwards before its first I and lets `ahead` r W's wait.
Schedule generate(std::string_view family, const ScheduleRequest& request, int ahead) {
  Schedule schedule = one_chunk_schedule(family, request);
  const int m = request.microbatches;
  for (int rank = 0; rank < request.pp; ++rank) {
    std::vector<Cell>& cells = schedule.ranks[static_cast<std::size_t>(rank)];
    cells.reserve(3 * static_cast<std::size_t>(m));
    const int warm_up = std::min(ahead * (request.pp - 1 - rank), m);
    const int lag = ahead * rank;
    int forwards = 0, gradients = 0, weights = 0;
    const auto forward = [&] { cells.push_back(forward_cell(Microbatch{forwards++}, ChunkId{0})); };
    const auto weight = [&] {
      cells.push_back(backward_cell(CellKind::kW, Microbatch{weights++}, ChunkId{0}));
    };
    while (forwards < warm_up) forward();
    while (gradients < m) {
      if (forwards < m) forward();
      cells.push_back(backward_cell(CellKind::kI, Microbatch{gradients++}, ChunkId{0}));
      if (gradients - weights > lag) weight();
    }
    while (weights < m) weight();
  }
  return schedule;
}

}  // namespace

std::optional<std::string> zb_h1_why_not(const ScheduleRequest& request) {
  return no_room("zb-h1", request);
}

Schedule zb_h1(const ScheduleRequest& request) {
  refuse(zb_h1_why_not(request));
  return generate("zb-h1", request, 1);
}

std::optional<std::string> zb_h2_why_not(const ScheduleRequest& request) {
  return no_room("zb-h2", request);
}

Schedule zb_h2(const ScheduleRequest& request) {
  refuse(zb_h2_why_not(request));
  return generate("zb-h2", request, 2);
}

}  // namespace orrery
