#include "planner/layout_search.hpp"

#include <catch2/catch.hpp>

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
  request.top = 1000;
  request.finalists = 0;
  return request;
}

DeviceModel small_costs(const SearchRequest& request) {
  return {read_calibration("calibration/h800.toml"), request.cluster};
}

TEST_CASE("every point of the space is either rejected with a reason or scored") {
  const SearchRequest request = small_request();
  const SearchResult result = search_layouts(request, small_costs(request));
  int rejected = 0;
  for (const auto& [reason, count] : result.rejected) rejected += count;
  // pp 1..16 and ep 1..64 in powers of two, two families.
  CHECK(result.space == 5 * 7 * 2);
  CHECK(rejected + result.scored == result.space);
  CHECK(static_cast<int>(result.rejections.size()) == rejected);
  CHECK(static_cast<int>(result.plans.size()) == result.scored);
  for (const Rejection& rejection : result.rejections) {
    CAPTURE(rejection.candidate.pp, rejection.candidate.ep, rejection.reason);
    CHECK_FALSE(rejection.arithmetic.empty());
  }
}

TEST_CASE("plans come best first and all of them fit") {
  const SearchRequest request = small_request();
  const SearchResult result = search_layouts(request, small_costs(request));
  REQUIRE(result.plans.size() > 2);
  for (std::size_t place = 0; place < result.plans.size(); ++place) {
    const ScoredPlan& plan = result.plans[place];
    CAPTURE(place, plan.candidate.pp, plan.candidate.ep, plan.candidate.schedule);
    CHECK(plan.memory.fits());
    CHECK(plan.gpu_hours == Approx(1e12 / (256.0 * 4096) * plan.step.value() * 64 / 3600));
    if (place > 0) CHECK(result.plans[place - 1].step <= plan.step);
  }
}

TEST_CASE("fixing dimensions restricts the space and gives the same plans there") {
  const SearchRequest request = small_request();
  const DeviceModel costs = small_costs(request);
  const SearchResult all = search_layouts(request, costs);
  SearchRequest fixed = request;
  fixed.fixed_pp = 4;
  fixed.fixed_ep = 8;
  fixed.schedule = "dualpipe";
  const SearchResult one = search_layouts(fixed, costs);
  CHECK(one.space == 1);
  REQUIRE(one.plans.size() == 1);
  bool found = false;
  for (const ScoredPlan& plan : all.plans) {
    if (!(plan.candidate == one.plans.front().candidate)) continue;
    found = true;
    CHECK(plan.step == one.plans.front().step);
  }
  CHECK(found);
}

TEST_CASE("finalists are simulated with contention, which never makes them faster") {
  SearchRequest request = small_request();
  const DeviceModel costs = small_costs(request);
  const SearchResult analytic = search_layouts(request, costs);
  request.finalists = 2;
  const SearchResult simulated = search_layouts(request, costs);
  CHECK(simulated.simulated == 2);
  for (std::size_t place = 0; place < 2; ++place) {
    const ScoredPlan& plan = simulated.plans[place];
    CHECK(plan.fidelity == "folded");
    for (const ScoredPlan& before : analytic.plans) {
      if (before.candidate == plan.candidate) CHECK(plan.step >= before.step * (1 - 1e-9));
    }
  }
}

TEST_CASE("a model that fits nowhere gives no plan and says why") {
  SearchRequest request = small_request();
  request.model = read_model("models/deepseek-v3.toml");
  const SearchResult result = search_layouts(request, small_costs(request));
  CHECK(result.plans.empty());
  CHECK(result.rejected.at("exceeds GPU memory") > 0);
}

TEST_CASE("an unknown schedule is an error and not an empty space") {
  SearchRequest request = small_request();
  request.schedule = "dualpip";
  CHECK_THROWS_AS(search_layouts(request, small_costs(request)), InputError);
}

}  // namespace
}  // namespace orrery
