// What simulating a cluster's network costs: single exchanges on 2048 GPUs, folding included.
// The process's peak memory is a counter of each.
#include <benchmark/benchmark.h>
#include <sys/resource.h>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "sim/cluster_step.hpp"
#include "sim/network/single_exchange.hpp"

namespace orrery {
namespace {

void run(benchmark::State& state, int ep, const Work& work, const Cluster& cluster) {
  const Plan plan = exchange_plan(cluster, ep);
  const Program program = exchange_program(work);
  for (auto _ : state) {
    const ClusterStep step = run_cluster(plan, program, FixedRates());
    state.counters["simulated_us"] = 1e6 * step.classes.step.value();
    state.counters["activities"] = static_cast<double>(step.classes.activities);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  state.counters["peak_MB"] = static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

Cluster cluster_named(const char* name) {
  return read_cluster(resolve(name, CatalogKind::kCluster));
}

void ep64_dispatch_2048(benchmark::State& state) {
  const Cluster cluster = cluster_named("h800-2048");
  run(state, 64, all_to_all(cluster, 64, Bytes{1 << 20}), cluster);
}
BENCHMARK(ep64_dispatch_2048)->Unit(benchmark::kMillisecond);

// 1 MiB in all from every GPU, and 1 MiB reduced, as the published figures of ASTRA-sim have it.
void all_to_all_2048(benchmark::State& state) {
  const Cluster cluster = cluster_named("h800-2048");
  run(state, 2048, all_to_all(cluster, 2048, Bytes{(1 << 20) / 2048.0}), cluster);
}
BENCHMARK(all_to_all_2048)->Unit(benchmark::kMillisecond);

void ring_all_reduce_2048(benchmark::State& state) {
  const Cluster cluster = cluster_named("h800-2048");
  run(state, 64, ring_all_reduce(cluster, Bytes{1 << 20}), cluster);
}
BENCHMARK(ring_all_reduce_2048)->Unit(benchmark::kMillisecond);

void ep64_dispatch_65536(benchmark::State& state) {
  const Cluster cluster = cluster_named("h800-65536");
  run(state, 64, all_to_all(cluster, 64, Bytes{1 << 20}), cluster);
}
BENCHMARK(ep64_dispatch_65536)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace orrery
