// How long one simulated step takes: DeepSeek-V3 on 2048 H800, 120 micro-batches of DualPipe on 16
// ranks; and on 32 times as many GPUs, with a slow one among them, with uneven experts.
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
  // `scale` times the GPUs and the global batch: the same micro-batches on each.
  explicit Published(const char* cluster = "h800-2048", int scale = 1) {
    PlanRequest request;
    request.model = read_model(resolve("deepseek-v3", CatalogKind::kModel));
    request.cluster = read_cluster(resolve(cluster, CatalogKind::kCluster));
    calibration = read_calibration(resolve("h800", CatalogKind::kCalibration));
    request.training.global_batch = 15360 * scale;
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

// Everything `orrery simulate` does between reading and printing: lowering, folding and SimGrid.
void simulate(benchmark::State& state, const Published& published, const Faults& faults = {},
              const Skew& skew = {}) {
  const CalibratedCost costs(published.calibration, published.plan.cluster);
  for (auto _ : state) {
    const Program program = lower(published.plan);
    const ClusterStep step =
        run_cluster(published.plan, program, costs, Grouping::kFolded, faults, skew);
    state.counters["activities"] = static_cast<double>(step.classes.activities);
    state.counters["classes"] = step.classes.rank_classes;
  }
  state.counters["peak_MB"] = peak_megabytes();
}

void simulated_step(benchmark::State& state) {
  simulate(state, Published());
}
BENCHMARK(simulated_step)->Unit(benchmark::kMillisecond);

void simulated_step_65536(benchmark::State& state) {
  simulate(state, Published("h800-65536", 32));
}
BENCHMARK(simulated_step_65536)->Unit(benchmark::kMillisecond);

void simulated_step_slow_gpu(benchmark::State& state) {
  Faults faults;
  faults.gpu_speed[412] = 0.9;
  simulate(state, Published(), faults);
}
BENCHMARK(simulated_step_slow_gpu)->Unit(benchmark::kMillisecond);

void simulated_step_skew(benchmark::State& state) {
  simulate(state, Published(), {}, {SkewKind::kIid, 0, 1024, 1});
}
BENCHMARK(simulated_step_skew)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace orrery
