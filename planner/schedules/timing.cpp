#include "planner/schedules/timing.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "planner/schedules/period.hpp"

namespace orrery {
namespace {

// When a wait lets the cell behind it start, given when the cell before has started and ended.
class Waits {
 public:
  Waits(const Schedule& schedule, const CellGraph& graph, const CellTimes& times)
      : schedule_(schedule), graph_(graph), times_(times) {}

  Seconds latency(const CellWait& wait) const {
    if (!wait.between_ranks) return {};
    const auto& [rank, cell] = at(wait.before);
    const bool gradient = wait.kind == WaitKind::kGradient;
    const Half& half = gradient ? cell.backward : cell.forward;
    return times_.latency(schedule_.chunks[rank.index()][half.chunk.index()], gradient);
  }

  Seconds start_after(const CellWait& wait, const Span& before) const {
    if (wait.kind != WaitKind::kForward && wait.kind != WaitKind::kGradient) return before.end;
    const Seconds way = latency(wait);
    if (!times_.has_offsets()) return before.end + way;
    const auto& [rank, cell] = at(wait.before);
    const CellOffsets from = cell_offsets(schedule_, rank, cell, times_);
    if (wait.kind == WaitKind::kForward) return before.start + from.forward_ready + way;
    const auto& [to_rank, to_cell] = at(wait.after);
    const CellOffsets to = cell_offsets(schedule_, to_rank, to_cell, times_);
    return before.start + from.gradient_ready + way - to.needs_gradient;
  }

 private:
  struct Place {
    Rank rank;
    const Cell& cell;
  };
  Place at(int vertex) const {
    const CellPosition position = graph_.position(vertex);
    return {position.rank,
            schedule_.ranks[position.rank.index()][static_cast<std::size_t>(position.cell)]};
  }

  const Schedule& schedule_;
  const CellGraph& graph_;
  const CellTimes& times_;
};

const Span& span_of(const CellGraph& graph, const ScheduleTiming& timing, int vertex) {
  const CellPosition at = graph.position(vertex);
  return timing.cells[at.rank.index()][static_cast<std::size_t>(at.cell)];
}

}  // namespace

void summarise_spans(const Schedule& schedule, const CellTimes& times, ScheduleTiming& timing) {
  Seconds all_busy, most_busy;
  timing.windows.assign(timing.cells.size(), Seconds{});
  for (std::size_t rank = 0; rank < timing.cells.size(); ++rank) {
    all_busy += timing.busy[rank];
    most_busy = std::max(most_busy, timing.busy[rank]);
    if (timing.cells[rank].empty()) continue;
    const Seconds first = timing.cells[rank].front().start;
    const Seconds last = timing.cells[rank].back().end;
    timing.makespan = std::max(timing.makespan, last);
    timing.windows[rank] = last - first;
    timing.window = std::max(timing.window, timing.windows[rank]);
  }
  timing.period = steady_period(schedule, timing.cells, times);
  if (timing.makespan > Seconds{}) {
    const Seconds mean_busy = all_busy / static_cast<double>(timing.cells.size());
    timing.bubble_fraction = 1 - mean_busy / timing.makespan;
    timing.window_bubble = 1 - most_busy / timing.window;
  }
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
  timing.busy.resize(schedule.ranks.size());

  // Longest path: in topological order, all that a cell waits for is known.
  const Waits waits(schedule, graph, times);
  for (const int vertex : graph.order()) {
    const CellPosition at = graph.position(vertex);
    const auto cell = static_cast<std::size_t>(at.cell);
    Seconds start;
    for (const CellWait& wait : graph.waits_of(vertex))
      start = std::max(start, waits.start_after(wait, span_of(graph, timing, wait.before)));
    const Seconds duration =
        cell_duration(schedule, at.rank, schedule.ranks[at.rank.index()][cell], times);
    timing.cells[at.rank.index()][cell] = {start, start + duration};
    timing.busy[at.rank.index()] += duration;
  }
  summarise_spans(schedule, times, timing);
  return timing;
}

std::vector<CriticalCell> critical_cells(const Schedule& schedule, const CellGraph& graph,
                                         const CellTimes& times, const ScheduleTiming& timing) {
  std::vector<CriticalCell> chain;
  if (graph.cells() == 0) return chain;
  int vertex = 0;
  for (int other = 1; other < graph.cells(); ++other) {
    if (span_of(graph, timing, other).end > span_of(graph, timing, vertex).end) vertex = other;
  }
  const Waits waits(schedule, graph, times);
  for (;;) {
    const CellWait* tightest = nullptr;
    Seconds latest;
    for (const CellWait& wait : graph.waits_of(vertex)) {
      const Seconds start = waits.start_after(wait, span_of(graph, timing, wait.before));
      // Of equals the data, which says more than the order of the list.
      if (tightest == nullptr || start >= latest) {
        tightest = &wait;
        latest = start;
      }
    }
    const bool first = tightest == nullptr || span_of(graph, timing, vertex).start <= Seconds{};
    chain.push_back({graph.position(vertex), first ? WaitKind::kRankOrder : tightest->kind,
                     first ? Seconds{} : waits.latency(*tightest)});
    if (first) break;
    vertex = tightest->before;
  }
  std::reverse(chain.begin(), chain.end());
  return chain;
}

}  // namespace orrery
