#include "reports/schedule_change_text.hpp"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "planner/schedules/timing.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

std::vector<RankChange> measure(const Schedule& schedule, const CellTimes& times) {
  const double makespan = time_schedule(schedule, times).makespan.value();
  std::vector<RankChange> ranks;
  for (int rank = 0; rank < schedule.pp(); ++rank)
    ranks.push_back(measure_rank(schedule, times, Rank{rank}, makespan));
  return ranks;
}

template <class Field>
double mean(const std::vector<RankChange>& ranks, Field field) {
  double sum = 0;
  for (const RankChange& rank : ranks) sum += rank.*field;
  return sum / static_cast<double>(ranks.size());
}

}  // namespace

RankChange measure_rank(const Schedule& schedule, const CellTimes& times, Rank rank,
                        double makespan) {
  RankChange change;
  bool any_backward = false;
  for (const Cell& cell : schedule.ranks[rank.index()]) {
    change.busy += cell_duration(schedule, rank, cell, times).value();
    if (cell.kind == CellKind::kFB) {
      const bool within = cell.forward.chunk == cell.backward.chunk;
      ++(within ? change.pairs_within : change.pairs_across);
    }
    change.weights_apart += cell.kind == CellKind::kW;
    any_backward = any_backward || cell.has_input_gradient();
    change.forwards_first += !any_backward;
  }
  change.idle = makespan - change.busy;
  change.held = peak_activations(schedule)[rank.index()];
  return change;
}

std::string schedule_change_text(const Schedule& before, const Schedule& after,
                                 const CellTimes& times) {
  const std::vector<RankChange> old_ranks = measure(before, times),
                                new_ranks = measure(after, times);
  std::string text =
      "| rank | cells (s) | idle (s) | pairs of two chunks | of one chunk | W apart | forwards "
      "before the first backward | activations held |\n|---|---|---|---|---|---|---|---|\n";
  const int last = before.pp() - 1;
  for (const int rank : std::set<int>{0, std::min(1, last), last / 2}) {
    const RankChange& a = old_ranks[static_cast<std::size_t>(rank)];
    const RankChange& b = new_ranks[static_cast<std::size_t>(rank)];
    text += fmt::format(
        "| {} | {:.3f} -> {:.3f} | {:.3f} -> {:.3f} | {} -> {} | {} -> {} | {} -> {} | {} -> {} | "
        "{} -> {} |\n",
        rank, a.busy, b.busy, a.idle, b.idle, a.pairs_across, b.pairs_across, a.pairs_within,
        b.pairs_within, a.weights_apart, b.weights_apart, a.forwards_first, b.forwards_first,
        a.held, b.held);
  }
  const double busy[] = {mean(old_ranks, &RankChange::busy), mean(new_ranks, &RankChange::busy)};
  const double idle[] = {mean(old_ranks, &RankChange::idle), mean(new_ranks, &RankChange::idle)};
  text += fmt::format("| mean of all | {:.3f} -> {:.3f} | {:.3f} -> {:.3f} | | | | | |\n\n",
                      busy[0], busy[1], idle[0], idle[1]);
  const double gained = busy[0] + idle[0] - busy[1] - idle[1];
  text += fmt::format(
      "Of the {:.3f} s gained, {:.3f} s are less idle time and {:.3f} s shorter cells, in the mean "
      "of the ranks (a negative figure\nis a price paid: a pair taken apart takes longer than the "
      "pair).\n",
      gained, idle[0] - idle[1], busy[0] - busy[1]);
  return text;
}

}  // namespace orrery
