#include "planner/schedules/compact.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "planner/schedules/families.hpp"
#include "planner/schedules/timing.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

std::vector<int> no_limits(const Schedule& schedule) {
  return std::vector<int>(schedule.ranks.size(), 1 << 20);
}

// Times of every stage, send times and offsets inside pairs, all different.
CellTimes random_times(const Schedule& schedule, std::mt19937_64& random) {
  std::uniform_real_distribution<double> time(0.1, 2), share(0.2, 1);
  CellTimes times = uniform_times(schedule, {}, Seconds{});
  times.pairs.resize(times.stages.size());
  times.sends.resize(times.stages.size());
  for (std::size_t direction = 0; direction < times.stages.size(); ++direction) {
    for (StageTimes& stage : times.stages[direction]) {
      stage = {Seconds{time(random)}, Seconds{time(random)}, Seconds{time(random)},
               Seconds{2 * time(random)}, Seconds{time(random)}};
      const double shorter = std::min(stage.FB.value(), stage.FI.value());
      times.pairs[direction].push_back({Seconds{0.3 * shorter * share(random)},
                                        Seconds{shorter * share(random)},
                                        Seconds{shorter * share(random)}});
      times.sends[direction].push_back({Seconds{0.2 * time(random)}, Seconds{0.2 * time(random)}});
    }
  }
  for (const auto& chunks : schedule.chunks) {
    auto& pairs = times.rank_pairs.emplace_back();
    for (std::size_t forward = 0; forward < chunks.size(); ++forward) {
      auto& row = pairs.emplace_back();
      for (std::size_t backward = 0; backward < chunks.size(); ++backward)
        row.push_back(Seconds{2 + time(random)});
    }
  }
  return times;
}

TEST_CASE("the compact form of a schedule takes the time of its graph") {
  std::mt19937_64 random(20261128);
  int cases = 0;
  for (const ScheduleFamily& family : schedule_families()) {
    for (const int pp : {1, 2, 4, 6, 8}) {
      for (const int rounds : {2, 3, 5}) {
        const ScheduleRequest request{.pp = pp, .microbatches = rounds * pp};
        if (family.why_not(request)) continue;
        CAPTURE(std::string(family.name), pp, request.microbatches);
        const Schedule schedule = family.generate(request);
        const auto order = compact_order(schedule);
        REQUIRE(order);
        CHECK(expand_order(schedule, *order) == schedule);
        const CellTimes times = random_times(schedule, random);
        const CompactProblem problem = compact_problem(schedule, times, no_limits(schedule));
        CompactTimer timer(problem);
        const ScheduleTiming timing = time_schedule(schedule, times);
        CHECK_THAT(timer.makespan(*order), Catch::WithinAbs(timing.makespan.value(), 1e-9));
        for (std::size_t rank = 0; rank < order->size(); ++rank) {
          CHECK_THAT(timer.ends()[rank],
                     Catch::WithinAbs(timing.cells[rank].back().end.value(), 1e-9));
        }
        ++cases;
      }
    }
  }
  CHECK(cases > 100);
}

TEST_CASE("the critical path of a compact order ends with the makespan and has no gap") {
  const Schedule schedule = make_schedule("dualpipe", 8, 20);
  const CellTimes times = uniform_times(
      schedule, {Seconds{1}, Seconds{1.2}, Seconds{0.6}, Seconds{2.4}, Seconds{1.9}}, Seconds{0.1});
  const CompactProblem problem = compact_problem(schedule, times, no_limits(schedule));
  CompactTimer timer(problem);
  const CompactOrder order = *compact_order(schedule);
  std::vector<CompactTimer::Place> path;
  timer.critical_path(order, path);
  REQUIRE_FALSE(path.empty());
  const auto start = [&](CompactTimer::Place place) {
    return timer
        .starts()[static_cast<std::size_t>(place.rank)][static_cast<std::size_t>(place.token)];
  };
  const auto length = [&](CompactTimer::Place place) {
    return token_duration(
        problem, place.rank,
        order[static_cast<std::size_t>(place.rank)][static_cast<std::size_t>(place.token)]);
  };
  CHECK(start(path.back()) == 0);
  for (std::size_t step = 1; step < path.size(); ++step) {
    const double latency = path[step].rank == path[step - 1].rank ? 0 : 0.1;
    CHECK_THAT(start(path[step]) + length(path[step]) + latency,
               Catch::WithinAbs(start(path[step - 1]), 1e-9));
  }
  CHECK_THAT(start(path.front()) + length(path.front()),
             Catch::WithinAbs(time_schedule(schedule, times).makespan.value(), 1e-9));
}

TEST_CASE("a compact order keeps a limit exactly where the checker says so") {
  for (const ScheduleFamily& family : schedule_families()) {
    const ScheduleRequest request{.pp = 4, .microbatches = 12};
    const Schedule schedule = family.generate(request);
    const std::vector<int> peaks = peak_activations(schedule);
    const CompactOrder order = *compact_order(schedule);
    for (std::size_t rank = 0; rank < order.size(); ++rank) {
      CAPTURE(std::string(family.name), rank);
      CHECK(keeps_limit(order[rank], peaks[rank]));
      CHECK_FALSE(keeps_limit(order[rank], peaks[rank] - 1));
    }
  }
  const Token F{CellKind::kF, 0, 0}, I{CellKind::kI, 0, 0}, W{CellKind::kW, 0, 0};
  CHECK(keeps_limit(std::vector{F, I, W}, 1));
  CHECK_FALSE(keeps_limit(std::vector{I, F, W}, 1));
  CHECK_FALSE(keeps_limit(std::vector{F, W, I}, 1));
  CHECK_FALSE(keeps_limit(std::vector{Token{CellKind::kFB, 0, 0}}, 1));
}

TEST_CASE("an order that waits for itself has no makespan") {
  Schedule schedule = make_schedule("1f1b", 2, 2);
  const CellTimes times =
      uniform_times(schedule, without_overlap(Seconds{1}, Seconds{1}, Seconds{1}));
  const CompactProblem problem = compact_problem(schedule, times, no_limits(schedule));
  CompactOrder order = *compact_order(schedule);
  CHECK(CompactTimer(problem).makespan(order) == 9);
  CHECK(CompactTimer(problem).makespan(order, 8) == CompactTimer::kDeadlock);
  // Rank 0 wants the first gradient before it has sent the second activation, rank 1 the other way.
  const Token F{CellKind::kF, 0, 0}, B{CellKind::kB, 0, 0};
  order[0] = {F, B, F, B};
  order[1] = {F, F, B, B};
  CHECK(CompactTimer(problem).makespan(order) == CompactTimer::kDeadlock);
}

}  // namespace
}  // namespace orrery
