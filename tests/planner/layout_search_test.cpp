#include "planner/layout_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <string>

#include "core/error.hpp"
#include "tests/planner/published_plan.hpp"

namespace orrery {
namespace {

SearchRequest small_request() {
  SearchRequest request;
  request.model = read_model("models/deepseek-v2-lite.toml");
  request.cluster = read_cluster("topologies/h800-64.toml");
  request.training.global_batch = 256;
  request.training.tokens = 1e12;
  request.space = whole_space(request.model, request.cluster);
  request.space.schedule = {"1f1b", "zb-h1", "dualpipe", "interleaved"};
  request.finalists = 0;
  return request;
}

DeviceModel small_costs(const SearchRequest& request) {
  return {read_calibration("calibration/h800.toml"), request.cluster};
}

TEST_CASE("every point of the space is rejected with a reason, pruned or scored") {
  const SearchRequest request = small_request();
  const SearchResult result = search_layouts(request, small_costs(request));
  std::int64_t rejected = 0;
  for (const auto& [reason, count] : result.rejected) rejected += count;
  // pp 1..16, tp, cp and etp 1..8, ep 1..64, 1 to 8 sequences, two precisions, five recompute sets;
  // four schedules with 1 to 8 chunks, six numbers of SMs, four ZeRO stages, optimizer and moving
  // average on GPU and CPU.
  CHECK(result.space == 5LL * 4 * 4 * 4 * 7 * 4 * 2 * 5 * (4 * 4 * 6 * 4 * 2 * 2));
  CHECK(rejected + result.pruned + result.scored == result.space);
  CHECK(result.pruned > 0);
  CHECK_FALSE(result.truncated);
  for (const auto& [reason, point] : result.examples) {
    CAPTURE(reason);
    CHECK(result.rejected.contains(reason));
    CHECK_FALSE(point.arithmetic.empty());
  }
}

TEST_CASE("plans come best first, each of another layout or schedule, and all of them fit") {
  const SearchRequest request = small_request();
  const SearchResult result = search_layouts(request, small_costs(request));
  REQUIRE(static_cast<int>(result.plans.size()) == request.top);
  for (std::size_t place = 0; place < result.plans.size(); ++place) {
    const ScoredPlan& plan = result.plans[place];
    CAPTURE(place, describe(plan.plan.layout), plan.schedule);
    CHECK(plan.fidelity == "analytic");
    CHECK(plan.memory.fits());
    CHECK(plan.gpu_hours == Approx(1e12 / (256.0 * 4096) * plan.step.value() * 64 / 3600));
    if (place > 0) CHECK(result.plans[place - 1].step <= plan.step);
    for (std::size_t before = 0; before < place; ++before) {
      const ScoredPlan& other = result.plans[before];
      const Layout &a = plan.plan.layout, &b = other.plan.layout;
      const bool same = plan.schedule == other.schedule && a.pp == b.pp && a.tp == b.tp &&
                        a.cp == b.cp && a.ep == b.ep && a.etp == b.etp && a.vpp == b.vpp;
      CHECK_FALSE(same);
    }
  }
}

TEST_CASE("fixing dimensions restricts the space and gives the same plan there") {
  const SearchRequest request = small_request();
  const DeviceModel costs = small_costs(request);
  const SearchResult all = search_layouts(request, costs);
  const ScoredPlan& best = all.plans.front();
  const Layout& layout = best.plan.layout;
  SearchRequest fixed = request;
  fixed.space.pp = {layout.pp};
  fixed.space.tp = {layout.tp};
  fixed.space.ep = {layout.ep};
  fixed.space.schedule = {best.schedule};
  const SearchResult one = search_layouts(fixed, costs);
  CHECK(one.space < all.space);
  REQUIRE_FALSE(one.plans.empty());
  CHECK(one.plans.front().plan == best.plan);
  CHECK(one.plans.front().step == best.step);
}

TEST_CASE("finalists are simulated with contention, and their Programs fit") {
  SearchRequest request = small_request();
  request.finalists = 4;
  const SearchResult result = search_layouts(request, small_costs(request));
  CHECK(result.simulated == 4);
  for (std::size_t place = 0; place < result.plans.size(); ++place) {
    const ScoredPlan& plan = result.plans[place];
    CAPTURE(place, describe(plan.plan.layout), plan.schedule);
    CHECK(plan.fidelity == (place < 4 ? "folded" : "analytic"));
    CHECK(plan.memory.fits());
    CHECK(plan.step.value() == Approx(plan.score.value()).epsilon(0.03));
  }
}

// Of the whole space's fifty best, reports/deepseek-v3-plan.md has the differences.
TEST_CASE("the score of published models' layouts is within 3 percent of the simulation") {
  const auto [model, cluster, calibration, batch, pp] =
      GENERATE(table<const char*, const char*, const char*, int, int>(
          {{"deepseek-v3", "h800-2048", "h800", 15360, 16},
           {"mixtral-8x22b", "h100-128", "h100", 1024, 4}}));
  SearchRequest request;
  request.model = read_model(std::string("models/") + model + ".toml");
  request.cluster = read_cluster(std::string("topologies/") + cluster + ".toml");
  request.training.global_batch = batch;
  request.space = whole_space(request.model, request.cluster);
  request.space.pp = {pp};
  request.space.tp = request.space.cp = request.space.etp = {1};
  request.space.precision = {Precision::kFp8};
  request.space.recompute = {Recompute::kSelective};
  request.finalists = request.top = 12;
  const DeviceModel costs{read_calibration(std::string("calibration/") + calibration + ".toml"),
                          request.cluster};
  const SearchResult result = search_layouts(request, costs);
  REQUIRE(result.plans.size() == 12);
  double worst = 0;
  std::set<std::string> families;
  for (const ScoredPlan& plan : result.plans) {
    CAPTURE(describe(plan.plan.layout), plan.schedule);
    CHECK(plan.fidelity == "folded");
    CHECK(plan.step != plan.score);
    CHECK(plan.step.value() == Approx(plan.score.value()).epsilon(0.03));
    worst = std::max(worst, std::abs(plan.score / plan.step - 1));
    families.insert(plan.schedule);
  }
  CHECK(families.size() >= 4);
  WARN(fmt::format("{}: scores within {:.2f} % of the simulation", model, worst * 100));
}

TEST_CASE("a budget of settings cuts the search short and says so") {
  SearchRequest request = small_request();
  request.effort = 10;
  const SearchResult result = search_layouts(request, small_costs(request));
  CHECK(result.truncated);
  std::int64_t rejected = 0;
  for (const auto& [reason, count] : result.rejected) rejected += count;
  CHECK(rejected + result.pruned + result.scored == result.space);
}

TEST_CASE("a model that fits nowhere gives no plan and says what it lacks") {
  SearchRequest request = small_request();
  request.model = read_model("models/deepseek-v3.toml");
  request.space = whole_space(request.model, request.cluster);
  request.space.schedule = {"1f1b"};
  request.space.optimizer = {Keep::kGpu};
  const SearchResult result = search_layouts(request, small_costs(request));
  CHECK(result.plans.empty());
  CHECK(result.rejected.at("exceeds GPU memory") > 0);
  CHECK(result.examples.at("exceeds GPU memory").arithmetic.find("GiB, the GPU has 79.11 GiB") !=
        std::string::npos);
}

TEST_CASE("an unknown schedule is an error and not an empty space") {
  SearchRequest request = small_request();
  request.space.schedule = {"dualpip"};
  CHECK_THROWS_AS(search_layouts(request, small_costs(request)), InputError);
}

}  // namespace
}  // namespace orrery
