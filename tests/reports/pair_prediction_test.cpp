#include "reports/pair_prediction.hpp"

#include <catch2/catch.hpp>

#include "sim/derived_calibration.hpp"
#include "tests/planner/published_plan.hpp"

namespace orrery {
namespace {

PublishedRun trace() {
  return read_published("reports/published/deepseek-v3.toml");
}

TEST_CASE("the pair predicted of a device against itself is the same pair") {
  const PublishedPlan known;
  const std::string text =
      pair_prediction(trace(), {known.plan, known.calibration}, {known.plan, known.calibration});
  CHECK_THAT(text, Catch::Contains("| wall, ms | 129.0 | 126.9 | **126.9** | 1.000 |"));
  CHECK_THAT(text, Catch::Contains("Measured on h800: 125.1 of 125.1 ms"));
}

// All kernels of the compute stream hide the exchanges here: with each of them in half the time, of
// which launch gaps are no part, the pair is held up by its exchanges of 81.9 ms.
TEST_CASE("a device of twice the speed waits for its exchanges, and none of it was measured") {
  const PublishedPlan known;
  Calibration fast = scaled(known.calibration, {2, 2});
  fast.base = "h800";
  const std::string text =
      pair_prediction(trace(), {known.plan, known.calibration}, {known.plan, fast});
  CHECK_THAT(text, Catch::Contains("| compute busy, ms | 124.3 | 125.1 | **62.5** | 0.500 |"));
  CHECK_THAT(text, Catch::Contains("| exchanges, ms |  | 81.9 | **81.9** | 1.000 |"));
  CHECK_THAT(text, Catch::Contains("Measured on h800: 0.0 of 62.5 ms"));
  CHECK_THAT(text, !Catch::Contains("| of it stalls, ms |  | 0.0 | **0.0** |"));
}

}  // namespace
}  // namespace orrery
