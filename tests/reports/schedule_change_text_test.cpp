#include "reports/schedule_change_text.hpp"

#include <catch2/catch.hpp>

#include "planner/schedules/families.hpp"
#include "planner/schedules/timing.hpp"

namespace orrery {
namespace {

TEST_CASE("what a rank does is counted from its cells") {
  const Schedule schedule = make_schedule("dualpipe", 4, 12);
  const CellTimes times =
      uniform_times(schedule, {Seconds{1}, Seconds{1}, Seconds{1}, Seconds{2.5}, Seconds{2}});
  const double makespan = time_schedule(schedule, times).makespan.value();
  const RankChange rank = measure_rank(schedule, times, Rank{0}, makespan);
  CHECK(rank.pairs_within == 0);
  // 12 forwards and 12 backwards of 3, less half a unit a pair.
  CHECK(rank.busy == Approx(36 - 0.5 * rank.pairs_across));
  CHECK(rank.busy + rank.idle == Approx(makespan));
  CHECK(rank.held == 5);
  const std::string same = schedule_change_text(schedule, schedule, times);
  CHECK(same.find("Of the 0.000 s gained, 0.000 s are less idle time") != std::string::npos);
}

}  // namespace
}  // namespace orrery
