#include "planner/step_parts.hpp"

#include <catch2/catch.hpp>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "planner/device_model.hpp"
#include "planner/plan_builder.hpp"
#include "sim/analytic.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

TEST_CASE("the parts of a step add up to it") {
  const Cluster cluster = read_cluster(resolve("h800-64", CatalogKind::kCluster));
  const DeviceModel device = read_device_model(resolve("h800", CatalogKind::kCalibration), cluster);
  const Model model = read_model(resolve("deepseek-v2-lite", CatalogKind::kModel));
  for (const char* schedule : {"1f1b", "dualpipe", "zb-v"}) {
    for (const int tp : {1, 2}) {
      Layout layout;
      layout.pp = 4;
      layout.ep = 8;
      layout.tp = tp;
      layout.dp = 0;
      layout.vpp = schedule == std::string("zb-v") ? 2 : 1;
      Training training;
      training.global_batch = 256;
      const Plan plan =
          build_plan({model, cluster, training, layout, schedule, std::nullopt, device.reference()},
                     device.costs());
      const Program program = lower(plan);
      const Timeline timeline = run_analytic(program, device.costs(), plan.layout.gpus());
      const StepSummary summary =
          summarise(plan, device.device(), program, timeline, device.costs());
      const StepParts parts = step_parts(program, timeline, summary);
      CAPTURE(schedule, tp);
      CHECK(parts.total().value() == Approx(timeline.step.value()).epsilon(1e-9));
      // In the cells: what the summary counts, by component.
      Seconds in_cells;
      for (const auto& [component, time] : parts.exposed) {
        if (component != Component::kGradientReduce && component != Component::kParameterGather)
          in_cells += time;
      }
      CHECK(in_cells.value() == Approx(summary.mean.exposed_comm.value()).margin(1e-9));
      CHECK((parts.exposed.count(Component::kTensorParallel) > 0) == (tp > 1));
    }
  }
}

}  // namespace
}  // namespace orrery
