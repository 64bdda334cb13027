#include "planner/schedules/interleaved.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "planner/schedules/rank_cells.hpp"

namespace orrery {
namespace {

int chunks_of(const ScheduleRequest& request) {
  return request.chunks == 0 ? 2 : request.chunks;
}

std::optional<std::string> why_not(std::string_view family, const ScheduleRequest& request) {
  if (auto reason = no_room(family, request)) return reason;
  if (chunks_of(request) < 2)
    return fmt::format("{} needs at least two chunks a rank, not {}", family, request.chunks);
  if (request.microbatches % request.pp != 0) {
    return fmt::format("{} needs a number of micro-batches that is a multiple of pp={}, not {}",
                       family, request.pp, request.microbatches);
  }
  return std::nullopt;
}

Schedule generate(std::string_view family, const ScheduleRequest& request, bool overlap) {
  const int p = request.pp;
  const int v = chunks_of(request);
  const int m = request.microbatches;
  Schedule schedule = wave_schedule(family, request, v);
  // The k-th forward of a rank: groups of p micro-batches go through chunk 0, then chunk 1, ...
  const auto forward = [&](int k) {
    return Half{Microbatch{k / (p * v) * p + k % p}, ChunkId{k % (p * v) / p}};
  };
  // Backwards take the chunks from the last to the first.
  const auto backward = [&](int k) {
    const Half half = forward(k);
    return Half{half.microbatch, ChunkId{v - 1 - half.chunk.value}};
  };
  for (int rank = 0; rank < p; ++rank) {
    std::vector<Cell>& cells = schedule.ranks[static_cast<std::size_t>(rank)];
    const int all = m * v;
    int warm_up = m == p ? all : 2 * (p - 1 - rank) + (v - 1) * p;
    if (overlap) ++warm_up;
    warm_up = std::min(warm_up, all);
    const auto add_forward = [&](int k) {
      cells.push_back(forward_cell(forward(k).microbatch, forward(k).chunk));
    };
    const auto add_backward = [&](int k) {
      cells.push_back(backward_cell(CellKind::kB, backward(k).microbatch, backward(k).chunk));
    };
    for (int k = 0; k < warm_up; ++k) add_forward(k);
    for (int k = 0; k < all - warm_up; ++k) {
      if (overlap) {
        cells.push_back(pair_cell(forward(warm_up + k), backward(k)));
      } else {
        add_forward(warm_up + k);
        add_backward(k);
      }
    }
    for (int k = all - warm_up; k < all; ++k) add_backward(k);
  }
  return schedule;
}

constexpr std::string_view kHint =
    "choose a number of micro-batches that is a multiple of pp, and --chunks from 2";

}  // namespace

std::optional<std::string> interleaved_why_not(const ScheduleRequest& request) {
  return why_not("interleaved", request);
}

Schedule interleaved(const ScheduleRequest& request) {
  refuse(interleaved_why_not(request), kHint);
  return generate("interleaved", request, false);
}

std::optional<std::string> interleaved_overlap_why_not(const ScheduleRequest& request) {
  if (auto reason = why_not("interleaved-overlap", request)) return reason;
  if (request.microbatches <= request.pp) {
    return fmt::format("interleaved-overlap needs more micro-batches than pp={}, not {}",
                       request.pp, request.microbatches);
  }
  return std::nullopt;
}

Schedule interleaved_overlap(const ScheduleRequest& request) {
  refuse(interleaved_overlap_why_not(request), kHint);
  return generate("interleaved-overlap", request, true);
}

}  // namespace orrery
