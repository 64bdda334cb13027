#include "planner/one_f_one_b.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "planner/reject_input.hpp"

namespace orrery {

std::optional<std::string> one_f_one_b_why_not(int pp, int microbatches) {
  if (pp < 1) return fmt::format("1f1b needs at least one pipeline rank, not pp={}", pp);
  if (microbatches < 1) return fmt::format("1f1b needs a micro-batch, not {}", microbatches);
  return std::nullopt;
}

Schedule one_f_one_b(int pp, int microbatches) {
  if (const auto reason = one_f_one_b_why_not(pp, microbatches)) {
    reject_input(*reason, "choose pp and the number of micro-batches from 1");
  }
  Schedule schedule;
  schedule.family = "1f1b";
  schedule.microbatches = microbatches;
  for (int rank = 0; rank < pp; ++rank) {
    std::vector<Cell> cells;
    const auto forward = [&](int microbatch) {
      cells.push_back(forward_cell(Microbatch{microbatch}, ChunkId{0}));
    };
    const auto backward = [&](int microbatch) {
      cells.push_back(backward_cell(CellKind::kB, Microbatch{microbatch}, ChunkId{0}));
    };
    // Warm-up: p-1-r stages follow, and each may have one micro-batch in hand before the first
    // gradient is back.
    const int warm_up = std::min(pp - 1 - rank, microbatches);
    for (int microbatch = 0; microbatch < warm_up; ++microbatch) forward(microbatch);
    // Steady state: the m - warm_up forwards that are left, a backward after each.
    for (int microbatch = 0; microbatch < microbatches - warm_up; ++microbatch) {
      forward(warm_up + microbatch);
      backward(microbatch);
    }
    // Cool-down: the backwards of as many micro-batches as the warm-up took in.
    for (int microbatch = microbatches - warm_up; microbatch < microbatches; ++microbatch) {
      backward(microbatch);
    }
    schedule.chunks.push_back({{Stage{rank}, 0}});
    schedule.ranks.push_back(std::move(cells));
  }
  return schedule;
}

}  // namespace orrery
