#include "planner/stage_map_bound.hpp"

#include <catch2/catch.hpp>
#include <random>

#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "core/stage_map.hpp"
#include "planner/joint_search.hpp"
#include "planner/plan_builder.hpp"
#include "planner/plan_schedule_search.hpp"
#include "tests/planner/published_plan.hpp"

namespace orrery {
namespace {

struct SmallPlan {
  explicit SmallPlan(const char* schedule, int layers = 27) {
    PlanRequest request;
    request.model = read_model("models/deepseek-v2-lite.toml");
    request.model.layers = layers;
    request.cluster = read_cluster("topologies/h800-64.toml");
    request.training.global_batch = 128;
    request.layout.pp = 4;
    request.layout.ep = 8;
    request.layout.dp = 0;
    request.schedule = schedule;
    device = DeviceModel(read_calibration("calibration/h800.toml"), request.cluster);
    plan = build_plan(request, device->costs());
  }
  std::optional<DeviceModel> device;
  Plan plan;
};

// The bounds that searches use, rank by rank, are those that the search over all maps uses, which
// does not know the first stage: where the way of the last gradient binds, its weight gradient is
// missing.
void compare_ranks(const Plan& plan, const DeviceModel& device) {
  const CellTimes times = plan_cell_times(plan, device.costs());
  const CompactProblem problem = plan_problem(plan, device, times);
  const std::vector<double> bounds = bounds_of_map(plan, device);
  INFO(format_stage_map(plan.layout.stage_map));
  std::size_t equal = 0;
  for (std::size_t rank = 0; rank < bounds.size(); ++rank) {
    const LowerBound own = lower_bound_of_rank(problem, static_cast<int>(rank));
    CHECK(bounds[rank] <= own.makespan * (1 + 1e-6));
    CHECK(bounds[rank] + problem.slot(0, 0).W >= own.makespan * (1 - 1e-6));
    equal += bounds[rank] == Approx(own.makespan).epsilon(1e-6);
  }
  CHECK(equal >= bounds.size() / 2);
}

TEST_CASE("the bound of a rank needs no more than its own stages and what lies around them") {
  const char* schedule = GENERATE("dualpipe", "dualpipev");
  const SmallPlan small(schedule);
  REQUIRE(has_folded_stages(small.plan.schedule));
  compare_ranks(small.plan, *small.device);
}

TEST_CASE("DeepSeek-V3's ranks have the same bounds both ways") {
  const PublishedPlan published;
  compare_ranks(published.plan, published.device());
}

TEST_CASE("no stage map has a bound below the least of all") {
  const SmallPlan small("dualpipe", 11);
  const auto bound_of = [&](const Plan& plan) {
    const std::vector<double> bounds = bounds_of_map(plan, *small.device);
    return *std::max_element(bounds.begin(), bounds.end());
  };
  const double own = bound_of(small.plan);
  const StageMapBound bound = bound_stage_maps(small.plan, *small.device, own * 1.001, 3);
  REQUIRE(!bound.maps.empty());
  CHECK(bound.least <= own);
  // Those listed are within a thousandth.
  CHECK(bound.maps.front().bound >= bound.least);
  CHECK(bound.maps.front().bound <= bound.least * 1.001);
  std::vector<LayerKind> entries;
  for (const auto& stage : small.plan.layout.stage_map)
    entries.insert(entries.end(), stage.begin(), stage.end());
  std::mt19937_64 random(1);
  Plan plan = small.plan;
  plan.layout.stage_map = bound.maps.front().map;
  CHECK(bound_of(plan) == Approx(bound.maps.front().bound));
  for (int draw = 0; draw < 5; ++draw) {
    std::vector<int> cuts;
    while (cuts.size() < 3) {
      const int cut =
          std::uniform_int_distribution(2, static_cast<int>(entries.size()) - 2)(random);
      if (std::find(cuts.begin(), cuts.end(), cut) == cuts.end()) cuts.push_back(cut);
    }
    std::sort(cuts.begin(), cuts.end());
    cuts.push_back(static_cast<int>(entries.size()));
    plan.layout.stage_map.clear();
    int from = 0;
    for (const int to : cuts) {
      plan.layout.stage_map.emplace_back(entries.begin() + from, entries.begin() + to);
      from = to;
    }
    INFO(format_stage_map(plan.layout.stage_map));
    CHECK(bound_of(plan) >= bound.least - 1e-9);
  }
}

TEST_CASE("schedule and map searched together are no longer than the family's best") {
  const SmallPlan small("dualpipe");
  const JointSearch joint = search_maps_and_schedules(small.plan, *small.device, 2, 20'000);
  const JointTry& best = joint.tries[joint.best];
  REQUIRE(best.whole.has_value());
  CHECK(best.searched <= joint.tries[joint.best_family].family);
  CHECK(best.whole->after <= best.whole->before);
  CHECK(fits(best.whole->plan, *small.device));
  for (const JointTry& tried : joint.tries) {
    CHECK(tried.bound <= tried.family * (1 + 1e-9));
    if (tried.searched > 0) CHECK(tried.searched >= tried.bound * (1 - 1e-9));
  }
}

}  // namespace
}  // namespace orrery
