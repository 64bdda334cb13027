#include "planner/plan_families.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "planner/schedules/families.hpp"

namespace orrery {
namespace {

TEST_CASE("every family is on its own stages, above its bound, or has a reason") {
  PlanRequest request;
  request.model = read_model("models/deepseek-v2-lite.toml");
  request.cluster = read_cluster("topologies/h800-64.toml");
  request.training.global_batch = 144;  // 9 micro-batches
  request.layout.pp = 4;
  request.layout.ep = 8;
  request.layout.dp = 0;
  const DeviceModel device(read_calibration("calibration/h800.toml"), request.cluster);
  const std::vector<PlanFamily> rows = plan_families(request, device);
  CHECK(rows.size() == schedule_families().size());
  int made = 0;
  for (const PlanFamily& row : rows) {
    CAPTURE(row.name);
    if (row.why_not) {
      CHECK(row.why_not->find(row.name) != std::string::npos);
      continue;
    }
    ++made;
    CHECK(row.bound.makespan > 0);
    CHECK(row.cells >= row.bound.makespan * (1 - 1e-9));
    CHECK(row.step.value() > row.cells * 0.95);
  }
  CHECK(made >= 5);
  const auto odd = std::find_if(rows.begin(), rows.end(),
                                [](const PlanFamily& row) { return row.name == "dualpipe"; });
  REQUIRE(odd != rows.end());
  CHECK(odd->why_not.has_value());  // needs an even number
}

}  // namespace
}  // namespace orrery
