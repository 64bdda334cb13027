#include "planner/schedules/one_f_one_b.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

TEST_CASE("1F1B is a valid schedule that holds min(m, p - r) activations on rank r") {
  const int pp = GENERATE(1, 2, 3, 4, 7, 8, 16, 33);
  const int microbatches = GENERATE_COPY(1, 2, pp, pp + 1, 2 * pp, 5 * pp);
  CAPTURE(pp, microbatches);
  const Schedule schedule = one_f_one_b(pp, microbatches);
  CHECK(schedule.family == "1f1b");
  CHECK(schedule.directions == 1);
  CHECK(schedule.stages() == pp);
  CHECK(check_schedule(schedule).empty());
  const std::vector<int> peaks = peak_activations(schedule);
  for (int rank = 0; rank < pp; ++rank) {
    CAPTURE(rank);
    CHECK(peaks[static_cast<std::size_t>(rank)] == std::min(microbatches, pp - rank));
  }
}

TEST_CASE("1F1B warms up, alternates and cools down") {
  const Schedule schedule = one_f_one_b(3, 4);
  const auto text = [&](std::size_t rank) {
    std::string result;
    for (const Cell& cell : schedule.ranks[rank]) {
      const Half& half = cell.has_forward() ? cell.forward : cell.backward;
      result += std::string(to_string(cell.kind)) + std::to_string(half.microbatch.value) + ' ';
    }
    return result;
  };
  CHECK(text(0) == "F0 F1 F2 B0 F3 B1 B2 B3 ");
  CHECK(text(1) == "F0 F1 B0 F2 B1 F3 B2 B3 ");
  CHECK(text(2) == "F0 B0 F1 B1 F2 B2 F3 B3 ");
}

TEST_CASE("1F1B refuses an empty pipeline and an empty batch") {
  CHECK_FALSE(one_f_one_b_why_not({.pp = 1, .microbatches = 1}));
  CHECK_THROWS_AS(one_f_one_b(0, 4), InputError);
  CHECK_THROWS_AS(one_f_one_b(4, 0), InputError);
}

}  // namespace
}  // namespace orrery
