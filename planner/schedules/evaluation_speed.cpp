#include "planner/schedules/evaluation_speed.hpp"

#include <chrono>

#include "core/error.hpp"
#include "planner/schedules/compact.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/search.hpp"
#include "planner/schedules/timing.hpp"

namespace orrery {
namespace {

// Of so many calls as take a while.
template <typename Call>
double calls_a_second(Call call) {
  constexpr double kLong = 0.15;
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  long calls = 0;
  double seconds = 0;
  do {
    call();
    ++calls;
    seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  } while (seconds < kLong);
  return static_cast<double>(calls) / seconds;
}

EvaluationSpeed measure(int pp, int microbatches) {
  EvaluationSpeed speed{pp, microbatches};
  ScheduleRequest request{.pp = pp, .microbatches = microbatches};
  const Schedule schedule = make_schedule("dualpipe", request);
  const CellTimes times = times_of_share(schedule, request.share);
  const CellGraph graph(schedule);
  double sum = 0;
  speed.graphs =
      calls_a_second([&] { sum += time_schedule(schedule, graph, times).makespan.value(); });
  const CompactProblem problem =
      compact_problem(schedule, times, std::vector<int>(schedule.ranks.size(), pp + 1));
  const CompactOrder order = *compact_order(schedule);
  CompactTimer timer(problem);
  speed.arrays = calls_a_second([&] { sum += timer.makespan(order); });
  const double proofs = calls_a_second([&] {
    ScheduleSearchRequest wanted;
    const Schedule& start = wanted.starts.emplace_back(make_schedule("zb-h1", request));
    wanted.times = times_of_share(start, request.share);
    wanted.limits.assign(start.ranks.size(), pp);
    const ScheduleSearchResult result = search_schedule(wanted);
    ORRERY_CHECK(result.proven(), "zb-h1 is optimal with memory p");
    sum += result.makespan;
  });
  speed.proof = 1 / proofs;
  ORRERY_CHECK(sum > 0, "schedules take time");
  return speed;
}

}  // namespace

std::vector<EvaluationSpeed> measure_evaluation_speed() {
  return {measure(8, 32), measure(16, 120)};
}

}  // namespace orrery
