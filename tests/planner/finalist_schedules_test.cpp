// Searched schedules of several plans: better or unchanged each, in order, all else kept.
#include "planner/finalist_schedules.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/model_reader.hpp"
#include "planner/prediction.hpp"
#include "tests/planner/published_plan.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

SearchResult found(int finalists) {
  SearchRequest request;
  request.model = read_model("models/deepseek-v2-lite.toml");
  request.cluster = read_cluster("topologies/h800-64.toml");
  request.training.global_batch = 256;
  request.training.tokens = 1e12;
  request.finalists = finalists;
  request.top = 4;
  request.space = whole_space(request.model, request.cluster);
  request.space.tp = request.space.cp = request.space.etp = {1};
  request.space.pp = {4};
  request.space.schedule = {"dualpipe", "dualpipev"};
  return search_layouts(request, read_device_model("calibration/h800.toml", request.cluster));
}

std::vector<ScoredPlan> searched(std::vector<ScoredPlan> plans, int count) {
  search_finalist_schedules(
      plans, count, Objective::kStepTime,
      [](const Cluster& cluster) { return read_device_model("calibration/h800.toml", cluster); },
      2000);
  return plans;
}

TEST_CASE("searched schedules put the finalists into order again and lose none") {
  const std::vector<ScoredPlan> before = found(3).plans;
  REQUIRE(before.size() == 4);
  const std::vector<ScoredPlan> after = searched(before, 3);
  REQUIRE(after.size() == before.size());
  int taken = 0;
  for (const ScoredPlan& plan : after) {
    const auto same = std::find_if(before.begin(), before.end(), [&](const ScoredPlan& other) {
      return other.plan.layout == plan.plan.layout && other.schedule == plan.schedule;
    });
    REQUIRE(same != before.end());
    CAPTURE(describe(plan.plan.layout), plan.schedule, same->step.value(), plan.step.value());
    const bool looked_at = same - before.begin() < 3;
    CHECK((plan.searched != nullptr) == looked_at);
    CHECK(plan.memory.fits());
    if (looked_at && plan.searched->better()) {
      ++taken;
      CHECK(plan.step < same->step);
      // Steps, GPU-hours and memory are those of the plan that is kept.
      const DeviceModel device = read_device_model("calibration/h800.toml", plan.plan.cluster);
      const Seconds step = predict(plan.plan, lower(plan.plan), device, {}).timeline.step;
      CHECK(step.value() == Approx(plan.step.value()).epsilon(1e-9));
    } else {
      CHECK(plan.step == same->step);
      CHECK(plan.plan == same->plan);
    }
    CHECK(plan.gpu_hours / same->gpu_hours == Approx(plan.step / same->step));
  }
  CHECK(taken > 0);
  // Those simulated come first, in order; the one that was only scored stays behind them.
  CHECK(std::is_sorted(after.begin(), after.end() - 1,
                       [](const auto& a, const auto& b) { return a.step < b.step; }));
  CHECK(after.back().fidelity == kScored);
}

TEST_CASE("a plan that was only scored is simulated where its schedule is searched") {
  const std::vector<ScoredPlan> after = searched(found(0).plans, 1);
  CHECK(after.front().fidelity == kSimulated);
  CHECK(after.front().searched != nullptr);
  for (std::size_t at = 1; at < after.size(); ++at) CHECK(after[at].fidelity == kScored);
}

}  // namespace
}  // namespace orrery
