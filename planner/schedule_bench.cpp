// How fast schedules are timed: by the Boost graph, as arrays, and as list schedules of the search.
#include <benchmark/benchmark.h>

#include "planner/schedules/compact.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/lower_bound.hpp"
#include "planner/schedules/order_search.hpp"
#include "planner/schedules/search.hpp"
#include "planner/schedules/timing.hpp"

namespace orrery {
namespace {

struct Timed {
  explicit Timed(benchmark::State& state)
      : schedule(make_schedule("dualpipe", static_cast<int>(state.range(0)),
                               static_cast<int>(state.range(1)))),
        times(uniform_times(schedule,
                            {Seconds{1}, Seconds{1.2}, Seconds{0.6}, Seconds{2.38}, Seconds{1.9}},
                            Seconds{0.1})),
        problem(compact_problem(
            schedule, times,
            std::vector<int>(schedule.ranks.size(), static_cast<int>(state.range(0)) + 1))) {}
  Schedule schedule;
  CellTimes times;
  CompactProblem problem;
};

void sizes(benchmark::internal::Benchmark* bench) {
  bench->Args({8, 32})->Args({16, 120})->Unit(benchmark::kMicrosecond);
}

void graph_built_and_timed(benchmark::State& state) {
  const Timed timed(state);
  for (auto _ : state) benchmark::DoNotOptimize(time_schedule(timed.schedule, timed.times));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(graph_built_and_timed)->Apply(sizes);

void graph_timed(benchmark::State& state) {
  const Timed timed(state);
  const CellGraph graph(timed.schedule);
  for (auto _ : state) benchmark::DoNotOptimize(time_schedule(timed.schedule, graph, timed.times));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(graph_timed)->Apply(sizes);

void arrays_timed(benchmark::State& state) {
  const Timed timed(state);
  const CompactOrder order = *compact_order(timed.schedule);
  CompactTimer timer(timed.problem);
  for (auto _ : state) benchmark::DoNotOptimize(timer.makespan(order));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(arrays_timed)->Apply(sizes);

// Drawing a change, checking its memory and timing it.
void order_searched(benchmark::State& state) {
  const Timed timed(state);
  OrderSearch search(timed.problem, *compact_order(timed.schedule), 1);
  constexpr int kAtOnce = 100;
  for (auto _ : state) search.advance(kAtOnce, 0.01, 0);
  state.SetItemsProcessed(state.iterations() * kAtOnce);
}
BENCHMARK(order_searched)->Apply(sizes);

void bound(benchmark::State& state) {
  const Timed timed(state);
  for (auto _ : state) benchmark::DoNotOptimize(lower_bound(timed.problem));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(bound)->Apply(sizes);

// ZB-H1 for one chunk and 1F1B's memory: proven optimal without any search.
void proven_at_once(benchmark::State& state) {
  ScheduleRequest request;
  request.pp = static_cast<int>(state.range(0));
  request.microbatches = static_cast<int>(state.range(1));
  for (auto _ : state) {
    ScheduleSearchRequest wanted;
    const Schedule placement = make_schedule("zb-h1", request);
    wanted.times = times_of_share(
        placement, without_overlap(Seconds{1}, Seconds{1.2}, Seconds{0.6}), Seconds{0.1});
    wanted.limits.assign(placement.ranks.size(), request.pp);
    wanted.starts = search_starts("zb-h1", request, wanted.times, wanted.limits);
    const ScheduleSearchResult result = search_schedule(wanted);
    if (!result.proven()) state.SkipWithError("not proven");
  }
}
BENCHMARK(proven_at_once)->Apply(sizes);

}  // namespace
}  // namespace orrery
