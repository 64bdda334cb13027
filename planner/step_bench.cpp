// How long one simulated step takes: DeepSeek-V3 on 2048 H800, 120 micro-batches of DualPipe on 16
// ranks.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "planner/plan_builder.hpp"
#include "planner/schedules/families.hpp"
#include "sim/analytic.hpp"
#include "sim/cluster_step.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

struct Published {
  Published() {
    PlanRequest request;
    request.model = read_model(resolve("deepseek-v3", CatalogKind::kModel));
    request.cluster = read_cluster(resolve("h800-2048", CatalogKind::kCluster));
    calibration = read_calibration(resolve("h800", CatalogKind::kCalibration));
    request.training.global_batch = 15360;
    request.layout.pp = 16;
    request.layout.ep = 64;
    request.layout.dp = 0;
    request.schedule = "dualpipe";
    plan = build_plan(request, CalibratedCost(calibration, request.cluster));
  }
  Calibration calibration;
  Plan plan;
};

// Peak resident memory of the process, as the operating system counts it.
double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

void lower_step(benchmark::State& state) {
  const Published published;
  for (auto _ : state) benchmark::DoNotOptimize(lower(published.plan));
}
BENCHMARK(lower_step)->Unit(benchmark::kMillisecond);

void analytic_step(benchmark::State& state) {
  const Published published;
  const CalibratedCost costs(published.calibration, published.plan.cluster);
  const Program program = lower(published.plan);
  for (auto _ : state)
    benchmark::DoNotOptimize(run_analytic(program, costs, published.plan.layout.gpus()));
}
BENCHMARK(analytic_step)->Unit(benchmark::kMillisecond);

// Everything `orrery simulate` does between reading and printing: lowering and SimGrid.
void simulated_step(benchmark::State& state) {
  const Published published;
  const CalibratedCost costs(published.calibration, published.plan.cluster);
  for (auto _ : state) {
    const Program program = lower(published.plan);
    const Timeline timeline = run_folded(published.plan, program, costs);
    state.counters["activities"] = static_cast<double>(timeline.activities);
  }
  state.counters["peak_MB"] = peak_megabytes();
}
BENCHMARK(simulated_step)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace orrery
