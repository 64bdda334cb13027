#include "planner/size_search.hpp"

#include <catch2/catch.hpp>
#include <random>

#include "core/cluster_part.hpp"
#include "core/error.hpp"
#include "tests/planner/published_plan.hpp"

namespace orrery {
namespace {

SizeSearchRequest small_request(std::vector<int> gpus) {
  SizeSearchRequest request;
  SearchRequest& search = request.search;
  search.model = read_model("models/deepseek-v2-lite.toml");
  search.cluster = read_cluster("topologies/h800-64.toml");
  search.training.global_batch = 256;
  search.training.tokens = 1e12;
  search.finalists = 2;
  request.gpus = std::move(gpus);
  request.space = [model = search.model](const Cluster& cluster) {
    LayoutSpace space = whole_space(model, cluster);
    space.tp = space.cp = space.etp = {1};
    space.schedule = {"1f1b", "zb-h1"};
    return space;
  };
  request.device = [](const Cluster& cluster) {
    return read_device_model("calibration/h800.toml", cluster);
  };
  return request;
}

ScoredPlan drawn_plan(std::mt19937& random) {
  ScoredPlan plan;
  plan.plan.cluster.nodes = 1 << (random() % 3);
  plan.plan.cluster.gpus_per_node = 8;
  plan.step = Seconds{1.0 + static_cast<double>(random() % 20)};
  plan.gpu_hours = plan.step.value() * plan.plan.cluster.gpus();
  plan.memory.capacity = Bytes{100};
  plan.memory.weights = Bytes{static_cast<double>(random() % 10)};
  return plan;
}

bool no_worse(const ScoredPlan& a, const ScoredPlan& b) {
  return a.plan.cluster.gpus() <= b.plan.cluster.gpus() && a.step <= b.step &&
         a.gpu_hours <= b.gpu_hours && a.memory.free() >= b.memory.free();
}

bool better_somewhere(const ScoredPlan& a, const ScoredPlan& b) {
  return a.plan.cluster.gpus() < b.plan.cluster.gpus() || a.step < b.step ||
         a.gpu_hours < b.gpu_hours || a.memory.free() > b.memory.free();
}

TEST_CASE("no plan of a front is dominated, and every other plan is") {
  std::mt19937 random(3);
  for (int number = 0; number < 50; ++number) {
    std::vector<ScoredPlan> plans;
    for (int plan = 0; plan < 40; ++plan) plans.push_back(drawn_plan(random));
    const std::vector<ScoredPlan> front = pareto_front(plans);
    REQUIRE_FALSE(front.empty());
    const auto dominated = [&](const ScoredPlan& own) {
      return std::any_of(plans.begin(), plans.end(), [&](const ScoredPlan& other) {
        return no_worse(other, own) && better_somewhere(other, own);
      });
    };
    CHECK(std::none_of(front.begin(), front.end(), dominated));
    const auto others = std::count_if(plans.begin(), plans.end(), dominated);
    CHECK(front.size() + static_cast<std::size_t>(others) == plans.size());
    for (std::size_t at = 1; at < front.size(); ++at)
      CHECK(front[at - 1].plan.cluster.gpus() <= front[at].plan.cluster.gpus());
  }
}

TEST_CASE("each number of GPUs has the plans of a search of its own") {
  SizeSearchRequest request = small_request({16, 64});
  const std::vector<SizeSearched> sizes = search_sizes(request);
  REQUIRE(sizes.size() == 2);
  for (const SizeSearched& size : sizes) {
    const SearchRequest& own = size.request;
    const SearchResult alone = search_layouts(own, request.device(own.cluster));
    REQUIRE(alone.plans.size() == size.result.plans.size());
    for (std::size_t at = 0; at < alone.plans.size(); ++at) {
      CHECK(alone.plans[at].plan == size.result.plans[at].plan);
      CHECK(alone.plans[at].plan.layout.gpus() == own.cluster.gpus());
    }
  }
  const SearchResult cheapest = merged(sizes, Objective::kGpuHours, 4);
  const SearchResult fastest = merged(sizes, Objective::kStepTime, 4);
  CHECK(cheapest.space == sizes[0].result.space + sizes[1].result.space);
  REQUIRE(cheapest.plans.size() == 4);
  for (std::size_t at = 1; at < 4; ++at) {
    CHECK(cheapest.plans[at - 1].gpu_hours <= cheapest.plans[at].gpu_hours);
    CHECK(fastest.plans[at - 1].step <= fastest.plans[at].step);
  }
  CHECK(fastest.plans.front().plan.cluster.gpus() == 64);
  CHECK(cheapest.plans.front().plan.cluster.gpus() == 16);
}

TEST_CASE("a part of a cluster has whole nodes, and an edge list none") {
  const Cluster cluster = read_cluster("topologies/h800-64.toml");
  CHECK(cluster_part(cluster, 24).nodes == 3);
  CHECK(cluster_part(cluster, 64) == cluster);
  CHECK(why_no_part(cluster, 128) == "h800-64 has 64");
  CHECK(why_no_part(cluster, 12) == "the nodes of h800-64 have 8 each");
  CHECK(why_no_part(cluster, 0).has_value());
  CHECK_THROWS_AS(search_sizes(small_request({12})), InputError);
}

}  // namespace
}  // namespace orrery
