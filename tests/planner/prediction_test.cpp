#include "planner/prediction.hpp"

#include <catch2/catch.hpp>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "planner/plan_builder.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

Plan plan_on(const Cluster& cluster, const DeviceModel& device) {
  PlanRequest request;
  request.model = read_model(resolve("tiny-moe", CatalogKind::kModel));
  request.cluster = cluster;
  request.training.sequence = 64;
  request.training.global_batch = 4;
  request.layout.pp = 2;
  request.layout.dp = 0;
  request.layout.precision = Precision::kBf16;
  request.schedule = "1f1b";
  request.calibration = device.reference();
  return build_plan(std::move(request), device.costs());
}

TEST_CASE("with a trace of its cores' speeds a host is what the trace says and nothing more") {
  const Cluster cluster = read_cluster(resolve("host-2", CatalogKind::kCluster));
  HostCalibration calibration = read_host_calibration(resolve("host", CatalogKind::kCalibration));
  calibration.device.cores = 2;
  calibration.device.slowdown = {1, 1.5};
  const DeviceModel device(calibration, cluster, "");
  const Plan plan = plan_on(cluster, device);
  const Program program = lower(plan);
  const auto step = [&](const SpeedTrace& speeds) {
    PredictionOptions options;
    options.speeds = speeds;
    return predict(plan, program, device, options).world_timeline.step.value();
  };
  const SpeedTrace as_calibrated = {{{Seconds{}, 1}}, {{Seconds{}, 1}}};
  // One busy core would be faster than both by the calibration; the trace has no such thing.
  CHECK(step(as_calibrated) > step({}));
  const SpeedTrace half = {{{Seconds{}, 2}}, {{Seconds{}, 2}}};
  CHECK(step(half) > 1.9 * step(as_calibrated));
  CHECK(step(half) <= 2 * step(as_calibrated));  // hand-overs and wakes stay as they are
}

}  // namespace
}  // namespace orrery
