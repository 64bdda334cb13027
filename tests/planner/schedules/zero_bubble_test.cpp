#include <catch2/catch.hpp>

#include "planner/schedules/families.hpp"
#include "planner/schedules/times.hpp"
#include "planner/schedules/timing.hpp"
#include "tests/planner/published_table.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

ScheduleRequest request_of(int pp, int microbatches, double input, double weight) {
  ScheduleRequest request{.pp = pp, .microbatches = microbatches};
  request.share = {Seconds{1}, Seconds{input}, Seconds{weight}, Seconds{1 + input + weight},
                   Seconds{input + weight}};
  return request;
}

TEST_CASE("zb-2p uses 2 pp activations on every rank, and no more than it is given") {
  for (const int pp : {2, 3, 4, 8}) {
    for (const auto& [input, weight] : {std::pair{1.0, 1.0}, {1.2, 0.6}, {1.3, 0.9}}) {
      CAPTURE(pp, input, weight);
      ScheduleRequest request = request_of(pp, 4 * pp, input, weight);
      const std::vector<int> full(static_cast<std::size_t>(pp), 2 * pp);
      CHECK(peak_activations(make_schedule("zb-2p", request)) == full);
      request.memory = 1.5 * pp;
      const std::vector<int> less(static_cast<std::size_t>(pp), static_cast<int>(request.memory));
      CHECK(peak_activations(make_schedule("zb-2p", request)) == less);
    }
  }
}

TEST_CASE("zb-2p is as short as the public scheduler's order with 2 pp activations") {
  int rows = 0;
  for (const PublishedRow& row : published_table("schedule-reference.csv")) {
    const std::string& name = row.text("schedule");
    const int pp = row.count("p");
    if (name != "ZB-auto(mem=" + std::to_string(2 * pp) + ")" || row.number("comm") > 0) continue;
    const Schedule schedule =
        make_schedule("zb-2p", request_of(pp, row.count("m"), row.number("B"), row.number("W")));
    const StageTimes share = request_of(pp, 1, row.number("B"), row.number("W")).share;
    CAPTURE(pp, row.text("m"), row.text("B"), row.text("W"));
    CHECK(time_schedule(schedule, times_of_share(schedule, share, Seconds{0})).makespan.value() <=
          row.number("makespan") + 1e-9);
    ++rows;
  }
  CHECK(rows > 30);
}

TEST_CASE("zb-2p refuses memory for less than one micro-batch") {
  ScheduleRequest request = request_of(4, 8, 1, 1);
  request.memory = 0.5;
  CHECK_THROWS_WITH(make_schedule("zb-2p", request), Catch::Contains("zb-2p needs memory"));
}

}  // namespace
}  // namespace orrery
