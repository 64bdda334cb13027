#include "planner/schedules/period.hpp"

#include <algorithm>
#include <limits>

namespace orrery {
namespace {

// What the halves of a cell take, each by itself.
double work_of(const Schedule& schedule, std::size_t rank, const Cell& cell,
               const CellTimes& times) {
  const auto& chunks = schedule.chunks[rank];
  double work = 0;
  if (cell.has_forward()) work += times.at(chunks[cell.forward.chunk.index()]).F.value();
  if (cell.kind == CellKind::kF) return work;
  const StageTimes& backward = times.at(chunks[cell.backward.chunk.index()]);
  if (cell.has_input_gradient()) work += backward.I.value();
  if (cell.has_weight_gradient()) work += backward.W.value();
  return work;
}

// Of all cells of a rank.
double work_of_rank(const Schedule& schedule, std::size_t rank, const CellTimes& times) {
  double work = 0;
  for (const Cell& cell : schedule.ranks[rank]) work += work_of(schedule, rank, cell, times);
  return work;
}

double period_of_rank(const Schedule& schedule, std::size_t rank, const std::vector<Span>& spans,
                      const CellTimes& times, double makespan, double work) {
  double from = spans.front().start.value(), to = spans.back().end.value();
  std::vector<double> starts;
  for (std::size_t cell = 0; cell < spans.size(); ++cell) {
    const Cell& own = schedule.ranks[rank][cell];
    if (own.kind == CellKind::kF || !own.has_input_gradient() || own.backward.chunk.value != 0)
      continue;
    const double start = spans[cell].start.value();
    if (start < makespan / 4 || start > makespan * 3 / 4) continue;
    starts.push_back(start);
  }
  if (starts.size() > 1) {
    // Delays come back after as many micro-batches as there are ranks.
    std::size_t steps = starts.size() - 1;
    if (steps >= schedule.ranks.size()) steps -= steps % schedule.ranks.size();
    const std::size_t first = (starts.size() - 1 - steps) / 2;
    from = starts[first];
    to = starts[first + steps];
  }
  double done = 0;
  for (std::size_t cell = 0; cell < spans.size(); ++cell) {
    const double start = spans[cell].start.value(), end = spans[cell].end.value();
    const double inside = std::min(end, to) - std::max(start, from);
    if (inside > 0 && end > start)
      done += work_of(schedule, rank, schedule.ranks[rank][cell], times) * inside / (end - start);
  }
  return done > 0 ? (to - from) * work / done / schedule.microbatches : 0;
}

}  // namespace

Seconds steady_period(const Schedule& schedule, const std::vector<std::vector<Span>>& spans,
                      const CellTimes& times) {
  double makespan = 0, most = 0;
  std::vector<double> works;
  for (std::size_t rank = 0; rank < spans.size(); ++rank) {
    works.push_back(work_of_rank(schedule, rank, times));
    most = std::max(most, works.back());
    if (!spans[rank].empty()) makespan = std::max(makespan, spans[rank].back().end.value());
  }
  double period = std::numeric_limits<double>::infinity();
  for (std::size_t rank = 0; rank < spans.size(); ++rank) {
    if (spans[rank].empty() || works[rank] < most * (1 - 1e-9)) continue;
    period =
        std::min(period, period_of_rank(schedule, rank, spans[rank], times, makespan, works[rank]));
  }
  return Seconds{period < std::numeric_limits<double>::infinity() ? period : 0};
}

}  // namespace orrery
