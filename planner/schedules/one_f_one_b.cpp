#include "planner/schedules/one_f_one_b.hpp"

#include <algorithm>

#include "planner/schedules/rank_cells.hpp"

namespace orrery {
namespace {

// `ahead`: forwards taken in before the first backward, for each stage that follows.
Schedule with_warm_up(std::string_view family, const ScheduleRequest& request, int ahead) {
  Schedule schedule = one_chunk_schedule(family, request);
  const int m = request.microbatches;
  for (int rank = 0; rank < request.pp; ++rank) {
    std::vector<Cell>& cells = schedule.ranks[static_cast<std::size_t>(rank)];
    const auto forward = [&](int microbatch) {
      cells.push_back(forward_cell(Microbatch{microbatch}, ChunkId{0}));
    };
    const auto backward = [&](int microbatch) {
      cells.push_back(backward_cell(CellKind::kB, Microbatch{microbatch}, ChunkId{0}));
    };
    // Warm-up: p-1-r stages follow, and each may have `ahead` micro-batches in hand before the
    // first gradient is back.
    const int warm_up = std::min(ahead * (request.pp - 1 - rank), m);
    for (int microbatch = 0; microbatch < warm_up; ++microbatch) forward(microbatch);
    // Steady state: the forwards that are left, a backward after each.
    for (int microbatch = 0; microbatch < m - warm_up; ++microbatch) {
      forward(warm_up + microbatch);
      backward(microbatch);
    }
    // Cool-down: the backwards of as many micro-batches as the warm-up took in.
    for (int microbatch = m - warm_up; microbatch < m; ++microbatch) backward(microbatch);
  }
  return schedule;
}

}  // namespace

std::optional<std::string> one_f_one_b_why_not(const ScheduleRequest& request) {
  return no_room("1f1b", request);
}

Schedule one_f_one_b(const ScheduleRequest& request) {
  refuse(one_f_one_b_why_not(request), "choose pp and the number of micro-batches from 1");
  return with_warm_up("1f1b", request, 1);
}

Schedule one_f_one_b(int pp, int microbatches) {
  return one_f_one_b({.pp = pp, .microbatches = microbatches});
}

std::optional<std::string> eager_one_f_one_b_why_not(const ScheduleRequest& request) {
  return no_room("1f1b-eager", request);
}

Schedule eager_one_f_one_b(const ScheduleRequest& request) {
  refuse(eager_one_f_one_b_why_not(request), "choose pp and the number of micro-batches from 1");
  return with_warm_up("1f1b-eager", request, 2);
}

}  // namespace orrery
