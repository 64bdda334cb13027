#include "planner/schedule_timing.hpp"

#include <algorithm>

#include "core/error.hpp"

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

Seconds cell_duration(const Schedule& schedule, Rank rank, const Cell& cell,
                      const CellTimes& times) {
  const Half& half = cell.has_forward() ? cell.forward : cell.backward;
  const StageTimes& stage = times.at(place_of(schedule, rank, half));
  switch (cell.kind) {
    case CellKind::kF: return stage.F;
    case CellKind::kB: return stage.I + stage.W;
    case CellKind::kI: return stage.I;
    case CellKind::kW: return stage.W;
    case CellKind::kFB: return stage.FB;
    case CellKind::kFI: return stage.FI;
  }
  return {};
}

ScheduleTiming time_schedule(const Schedule& schedule, const CellTimes& times) {
  return time_schedule(schedule, CellGraph(schedule), times);
}

ScheduleTiming time_schedule(const Schedule& schedule, const CellGraph& graph,
                             const CellTimes& times) {
  ORRERY_CHECK(!graph.deadlocks(), "schedule {} with pp={}, {} micro-batches", schedule.family,
               schedule.pp(), schedule.microbatches);
  ScheduleTiming timing;
  for (const auto& cells : schedule.ranks) timing.cells.emplace_back(cells.size());
  const auto span_of = [&](int vertex) -> Span& {
    const CellPosition at = graph.position(vertex);
    return timing.cells[at.rank.index()][static_cast<std::size_t>(at.cell)];
  };

  // Longest path: in topological order, the end of everything that a cell waits for is known.
  timing.busy.resize(schedule.ranks.size());
  for (const int vertex : graph.order()) {
    const CellPosition at = graph.position(vertex);
    const Cell& cell = schedule.ranks[at.rank.index()][static_cast<std::size_t>(at.cell)];
    Seconds start;
    for (const CellWait& wait : graph.waits_of(vertex)) {
      const Seconds latency = wait.between_ranks ? times.hop : Seconds{};
      start = std::max(start, span_of(wait.before).end + latency);
    }
    const Seconds duration = cell_duration(schedule, at.rank, cell, times);
    span_of(vertex) = {start, start + duration};
    timing.busy[at.rank.index()] += duration;
  }

  Seconds all_busy, most_busy;
  for (std::size_t rank = 0; rank < timing.cells.size(); ++rank) {
    all_busy += timing.busy[rank];
    most_busy = std::max(most_busy, timing.busy[rank]);
    if (timing.cells[rank].empty()) continue;
    const Seconds first = timing.cells[rank].front().start;
    const Seconds last = timing.cells[rank].back().end;
    timing.makespan = std::max(timing.makespan, last);
    timing.window = std::max(timing.window, last - first);
  }
  if (timing.makespan > Seconds{}) {
    const Seconds mean_busy = all_busy / static_cast<double>(timing.cells.size());
    timing.bubble_fraction = 1 - mean_busy / timing.makespan;
    timing.window_bubble = 1 - most_busy / timing.window;
  }
  return timing;
}

}  // namespace orrery
