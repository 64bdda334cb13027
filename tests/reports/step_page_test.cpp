// The page of a step: its sentence, its picture and the classes in it.
#include "reports/step_page.hpp"

#include <catch2/catch.hpp>

#include "tests/planner/published_plan.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t found = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    ++found;
  return found;
}

Plan small_plan() {
  const PublishedPlan published;
  PlanRequest request = published.request;
  request.model.layers = 4;
  request.model.dense_layers = 1;
  request.model.mtp_depth = 0;
  request.model.stage_map.reset();
  request.cluster.nodes = 8;
  request.layout.pp = 2;
  request.layout.ep = 16;
  request.schedule = "1f1b";
  request.training.global_batch = 32 * 4;
  return build_plan(request, published.costs());
}

}  // namespace

TEST_CASE("the page of a slow GPU names it, shows a row for every class, and who waits") {
  const PublishedPlan published;
  const Plan plan = small_plan();
  const CalibratedCost costs(published.calibration, plan.cluster);
  const Program program = lower(plan);
  Faults faults;
  faults.gpu_speed[11] = 0.5;
  const Seconds sound = run_cluster(plan, program, costs).classes.step;
  const ClusterStep step = run_cluster(plan, program, costs, Grouping::kFolded, faults);
  const std::string sentence = headline(plan, &faults, {}, sound, step);
  CHECK_THAT(sentence, Catch::StartsWith("GPU 3 of node 1 computes at 50 % of its speed: the step "
                                         "takes ") &&
                           Catch::Contains("for GPU 3 of node 1."));
  const std::string page = step_page(plan, step, sentence, "a < b & c");
  CHECK_THAT(page, Catch::Contains(sentence) && Catch::Contains("a &lt; b &amp; c"));
  CHECK(count(page, "<text ") ==
        step.folding.classes.size() + count(page, "text-anchor=\"middle\""));
  CHECK(count(page, "<svg") == 1);
  CHECK(count(page, "</svg>") == 1);
  // Half of the speed is waited for: red parts are there.
  CHECK(count(page, "<path fill=\"#e45756\"") > 0);
}

TEST_CASE("a sound step's page says so") {
  const PublishedPlan published;
  const Plan plan = small_plan();
  const CalibratedCost costs(published.calibration, plan.cluster);
  const ClusterStep step = run_cluster(plan, lower(plan), costs);
  CHECK_THAT(headline(plan, nullptr, {}, {}, step),
             Catch::StartsWith("All GPUs and links are sound and the experts evenly loaded: the "
                               "step takes ") &&
                 !Catch::Contains("in the place of"));
  CHECK(count(step_page(plan, step, "", ""), "<path fill=\"#e45756\"") == 0);
}

}  // namespace orrery
