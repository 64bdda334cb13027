#include "planner/plan_builder.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "core/stage_map.hpp"
#include "tests/planner/published_plan.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

TEST_CASE("the published plan has the published sizes") {
  const PublishedPlan published;
  CHECK(published.plan.layout.dp == 128);
  CHECK(published.plan.microbatches() == 120);
  CHECK(format_stage_map(published.plan.layout.stage_map) == "E,3d,1t | 4t x 14 | 1t,m,L");
  CHECK(check_schedule(published.plan.schedule).empty());
}

TEST_CASE("where the model states no map for this many stages the default balances the stages") {
  PublishedPlan published;
  published.request.layout.pp = 8;
  published.request.schedule = "1f1b";
  const Plan plan = build_plan(published.request, published.costs());
  REQUIRE(plan.layout.stage_map.size() == 8);
  Diagnostics diagnostics;
  check_stage_map(plan.layout.stage_map, plan.model, 8, diagnostics);
  CHECK_FALSE(diagnostics.has_errors());
}

TEST_CASE("what does not fit together is refused with its numbers") {
  struct Case {
    const char* what;
    void (*change)(PlanRequest&);
    const char* message;
  };
  const Case cases[] = {
      {"ep", [](PlanRequest& r) { r.layout.ep = 48; }, "ep=48 does not divide the 256 experts"},
      {"batch", [](PlanRequest& r) { r.training.global_batch = 1000; },
       "not a multiple of dp*mbs = 128*1 = 128"},
      {"few micro-batches", [](PlanRequest& r) { r.training.global_batch = 3072; },
       "at least 2*pp = 32"},
      {"schedule", [](PlanRequest& r) { r.schedule = "zb-h3"; }, "unknown schedule 'zb-h3'"},
      {"map", [](PlanRequest& r) { r.stage_map = "E,3d,1t | 4t x 14 | 2t,m,L"; },
       "59 MoE layers, the model has 58"},
      {"odd pp", [](PlanRequest& r) { r.layout.pp = 5; }, "2048 GPUs"},
  };
  for (const Case& item : cases) {
    CAPTURE(item.what);
    PublishedPlan published;
    item.change(published.request);
    CHECK_THROWS_AS(build_plan(published.request, published.costs()), InputError);
    CHECK_THROWS_WITH(build_plan(published.request, published.costs()),
                      Catch::Contains(item.message));
  }
}

}  // namespace
}  // namespace orrery
