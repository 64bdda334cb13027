// How fast layouts are scored at the analytic level: peak memory over all pipeline ranks and a time
// bound for every point of DeepSeek-V3's space on 2048 H800 that passes divisibility, caches cold
// at the start, one core. And how long the whole search takes, with and without its finalists.
#include <benchmark/benchmark.h>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "planner/layout_search.hpp"
#include "planner/layouts/score.hpp"

namespace orrery {
namespace {

struct Problem {
  Model model = read_model(resolve("deepseek-v3", CatalogKind::kModel));
  Cluster cluster = read_cluster(resolve("h800-2048", CatalogKind::kCluster));
  DeviceModel device =
      read_device_model(resolve(cluster.device, CatalogKind::kCalibration), cluster);
  Training training;
  LayoutSpace space = whole_space(model, cluster);

  Problem() { training.global_batch = 15360; }
};

// Every `stride`-th setting with all its points.
void bound_points(benchmark::State& state) {
  const Problem problem;
  const std::int64_t stride = state.range(0);
  const std::vector<StateChoice> choices = problem.space.states();
  std::int64_t points = 0, fit = 0;
  for (auto _ : state) {
    LayoutScorer scorer(problem.model, problem.cluster, problem.training, problem.device);
    std::map<SettingKey, std::map<int, SettingSums>> known;
    for (std::int64_t number = 0; number < problem.space.settings(); number += stride) {
      Setting setting = setting_at(problem.space, number);
      if (rule_out(problem.model, problem.cluster, problem.training, true, setting)) continue;
      auto& sums = known[setting_key(problem.cluster, setting.layout)];
      for (const int sms : problem.space.comm_sms) {
        const auto [own, is_new] = sums.try_emplace(sms);
        if (is_new) own->second = scorer.sums(setting.layout, {sms, sms});
      }
      for (const std::string& family : problem.space.schedule) {
        for (const int vpp : problem.space.vpp) {
          if (rule_out(problem.model, setting, family, vpp)) continue;
          LayoutScorer::Shape shape(scorer, setting, sums.begin()->second, {family, vpp});
          // Where each stage lies on two ranks, ZeRO 2 and 3 are rejected unlooked at.
          const bool mirrored = schedule_family(family).placement == StagePlacement::kBidirectional;
          const int most_zero = mirrored ? 1 : 3;
          for (const int sms : problem.space.comm_sms) {
            for (int zero = 1; zero <= most_zero; ++zero)
              benchmark::DoNotOptimize(shape.bound(sums.at(sms), zero));
            for (const StateChoice& states : choices) {
              if (states.zero > most_zero) continue;
              ++points;
              fit += shape.memory(states).table.fits();
            }
          }
        }
      }
    }
  }
  state.counters["points"] = static_cast<double>(points);
  state.counters["fit"] = static_cast<double>(fit);
  state.counters["points_a_second"] =
      benchmark::Counter(static_cast<double>(points), benchmark::Counter::kIsRate);
}
BENCHMARK(bound_points)->Arg(1)->Iterations(1)->Unit(benchmark::kSecond);

// Scored: cells timed one by one on the schedule, gradient reduction and optimizer behind them.
void score_shapes(benchmark::State& state) {
  const Problem problem;
  Setting setting;
  setting.layout.pp = 16;
  setting.layout.ep = 64;
  setting.layout.dp = 0;
  if (rule_out(problem.model, problem.cluster, problem.training, true, setting)) return;
  LayoutScorer scorer(problem.model, problem.cluster, problem.training, problem.device);
  const SettingSums sums = scorer.sums(setting.layout, {20, 20});
  for (auto _ : state) {
    LayoutScorer::Shape shape(scorer, setting, sums, {"dualpipe", 1});
    benchmark::DoNotOptimize(shape.score(20, {}));
  }
  state.counters["plans_a_second"] =
      benchmark::Counter(static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}
BENCHMARK(score_shapes)->Unit(benchmark::kMicrosecond);

void search(benchmark::State& state) {
  const Problem problem;
  for (auto _ : state) {
    SearchRequest request{problem.model, problem.cluster, problem.training,
                          problem.device.reference(), problem.space};
    request.finalists = static_cast<int>(state.range(0));
    const SearchResult result = search_layouts(request, problem.device);
    state.counters["space"] = static_cast<double>(result.space);
    state.counters["scored"] = static_cast<double>(result.scored);
    state.counters["simulated"] = result.simulated;
  }
}
BENCHMARK(search)->Arg(0)->Arg(10)->Iterations(1)->Unit(benchmark::kSecond)->UseRealTime();

}  // namespace
}  // namespace orrery
