#include "reports/comparison.hpp"

#include <catch2/catch.hpp>

#include "tests/planner/published_plan.hpp"

namespace orrery {
namespace {

TEST_CASE("the published figures are found for the published plan and for no other") {
  PublishedPlan published;
  REQUIRE(published_for(published.plan));
  CHECK(published_for(published.plan)->step.step_s == 19.926);
  Plan other = published.plan;
  other.layout.ep = 32;
  CHECK_FALSE(published_for(other));
  other = published.plan;
  other.training.global_batch = 3072;
  CHECK_FALSE(published_for(other));
  for (int Layout::* field : {&Layout::micro_batch, &Layout::comm_sms, &Layout::zero_stage}) {
    other = published.plan;
    other.layout.*field += 1;
    CHECK_FALSE(published_for(other));
  }
  other = published.plan;
  other.layout.recompute = Recompute::kFull;
  CHECK_FALSE(published_for(other));
  other = published.plan;
  other.schedule.family = "1f1b";
  CHECK_FALSE(published_for(other));
}

TEST_CASE("errors are signed: predicted over published less one") {
  const ComparedRow row{"step", "s", 20, 19, std::nullopt};
  CHECK(row.error() == Approx(-0.05));
  const ComparedRow ranked{"F", "s", 2, 3, 1};
  CHECK(ranked.error() == Approx(0.5));
  CHECK(ranked.rank0_error() == Approx(-0.5));
  CHECK(comparison_markdown({row}) ==
        "| | published | predicted | error | rank 0 | error |\n|---|---:|---:|---:|---:|---:|\n"
        "| step, s | 20.000 | 19.000 | -5.0 % |  |  |\n");
}

// A step of exactly the published 19.926 s must give the published throughput.
TEST_CASE("the published rows agree with one another") {
  const PublishedPlan plan;
  const PublishedStep published = published_for(plan.plan)->step;
  StepSummary summary;
  summary.step = Seconds{published.step_s};
  summary.gpus = 2048;
  summary.tokens_per_day = 15360.0 * 4096 / published.step_s * 86400;
  summary.ranks.resize(1);
  for (const ComparedRow& row : compare_step(summary, published)) {
    if (row.name != "step" && row.name != "tokens a day" && row.name != "GPU-hours a 10^12 tokens")
      continue;
    CAPTURE(row.name);
    CHECK(std::abs(row.error()) < 2e-3);
  }
}

}  // namespace
}  // namespace orrery
