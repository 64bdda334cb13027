#include "planner/schedules/times.hpp"

#include <algorithm>

namespace orrery {
namespace {

ChunkPlace place_of(const Schedule& schedule, Rank rank, const Half& half) {
  return schedule.chunks[rank.index()][half.chunk.index()];
}

}  // namespace

StageTimes without_overlap(Seconds F, Seconds I, Seconds W) {
  return {F, I, W, F + I + W, F + I};
}

CellTimes uniform_times(const Schedule& schedule, const StageTimes& stage, Seconds hop) {
  const std::vector<StageTimes> stages(static_cast<std::size_t>(schedule.stages()), stage);
  return {std::vector(static_cast<std::size_t>(schedule.directions), stages), hop};
}

CellTimes times_of_share(const Schedule& schedule, const StageTimes& share, Seconds hop) {
  const double v = chunks_of_direction(schedule);
  const StageTimes chunk{share.F / v, share.I / v, share.W / v, share.FB / v, share.FI / v};
  return uniform_times(schedule, chunk, hop);
}

int chunks_of_direction(const Schedule& schedule) {
  int most = 1;
  for (const auto& places : schedule.chunks) {
    for (int direction = 0; direction < schedule.directions; ++direction) {
      const auto held = std::count_if(places.begin(), places.end(), [&](const ChunkPlace& place) {
        return place.direction == direction;
      });
      most = std::max(most, static_cast<int>(held));
    }
  }
  return most;
}

bool has_pairs(const Schedule& schedule) {
  return std::any_of(schedule.ranks.begin(), schedule.ranks.end(), [](const auto& cells) {
    return std::any_of(cells.begin(), cells.end(),
                       [](const Cell& cell) { return cell.kind == CellKind::kFB; });
  });
}

Seconds cell_duration(const Schedule& schedule, Rank rank, const Cell& cell,
                      const CellTimes& times) {
  const Half& half = cell.has_forward() ? cell.forward : cell.backward;
  const StageTimes& stage = times.at(place_of(schedule, rank, half));
  switch (cell.kind) {
    case CellKind::kF: return stage.F;
    case CellKind::kB: return times.backward(place_of(schedule, rank, half)).length;
    case CellKind::kI: return stage.I;
    case CellKind::kW: return stage.W;
    case CellKind::kFB:
      if (times.rank_pairs.empty()) return stage.FB;
      return times
          .rank_pairs[rank.index()][cell.forward.chunk.index()][cell.backward.chunk.index()];
    case CellKind::kFI: {
      if (times.rank_pairs.empty()) return stage.FI;
      return stage.F + times.at(place_of(schedule, rank, cell.backward)).I;
    }
  }
  return {};
}

CellOffsets cell_offsets(const Schedule& schedule, Rank rank, const Cell& cell,
                         const CellTimes& times) {
  if (cell.kind == CellKind::kB) {
    const BackwardTimes own = times.backward(place_of(schedule, rank, cell.backward));
    return {own.length, own.gradient_ready, own.needs_gradient};
  }
  const bool pair = cell.kind == CellKind::kFB || cell.kind == CellKind::kFI;
  if (!pair || !times.has_pair_offsets()) {
    const Seconds end = cell_duration(schedule, rank, cell, times);
    const bool input = cell.kind == CellKind::kI;
    return {
        end, end,
        input ? times.backward(place_of(schedule, rank, cell.backward)).needs_gradient : Seconds{}};
  }
  const ChunkPlace place = place_of(schedule, rank, cell.forward);
  const PairOffsets& own = times.offsets(rank, place, cell.forward.chunk, cell.backward.chunk);
  // Of an F&I, which ends before the F&B that they are given for, at its end.
  const Seconds end = cell_duration(schedule, rank, cell, times);
  return {std::min(own.forward_ready, end), std::min(own.gradient_ready, end), own.needs_gradient};
}

}  // namespace orrery
