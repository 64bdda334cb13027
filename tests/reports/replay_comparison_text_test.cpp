#include "reports/replay_comparison_text.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "tests/realrun/replay_examples.hpp"

namespace orrery {
namespace {

struct Compared {
  Compared() {
    SimulatedDevice device = made_up_device(1.5);
    const ReplayScript script = predicted.script(3, 2);
    record =
        replay_record(predicted.plan, predicted.program, script,
                      measure_replay(device, script, {0, 1}), device, MadeUpCosts{}, "made-up");
    comparison = compare_replay(predicted.program, predicted.timeline, record);
  }
  std::string text() const {
    return replay_comparison_text("analytic", record, comparison, kept_pair_for(predicted.plan));
  }

  PredictedPlan predicted{PublishedPlan().plan};
  ReplayRecord record;
  ReplayComparison comparison;
};

TEST_CASE("what no GPU measured says so, in its first line and below") {
  Compared compared;
  CHECK(compared.text().substr(0, 90).find("SIMULATED DEVICE") != std::string::npos);
  CHECK_THAT(compared.text(), Catch::Contains("nothing in the column 'replayed' was measured"));
  compared.record.simulated = false;
  CHECK_THAT(compared.text(), !Catch::Contains("SIMULATED") && !Catch::Contains("no GPU"));
}

TEST_CASE("pairs of four MoE layers stand beside what is published and what was predicted") {
  Compared compared;
  CHECK_THAT(compared.text(), Catch::Contains("published for H800") && Catch::Contains("129.000") &&
                                  Catch::Contains("predicted for an H200, kept") &&
                                  Catch::Contains("111.900"));
  compared.comparison.pairs[0].forward_moe = 3;
  CHECK_THAT(compared.text(), !Catch::Contains("published for H800"));
}

TEST_CASE("ops that something else stood in for are marked") {
  Compared compared;
  CHECK_THAT(compared.text(), !Catch::Contains(" *"));
  compared.comparison.ops[0].stand_in = "a copy of as many bytes";
  CHECK_THAT(compared.text(),
             Catch::Contains(compared.comparison.ops[0].op + " *") &&
                 Catch::Contains("* an op has no kernel of its own here: a copy of as many bytes"));
}

TEST_CASE("the comparison as JSON has the same figures") {
  const Compared compared;
  const auto json = nlohmann::json::parse(replay_comparison_json(
      compared.record, compared.comparison, kept_pair_for(compared.predicted.plan), 1, 2));
  CHECK(json["simulated_device"] == true);
  CHECK(json["error"].get<double>() == Approx(compared.comparison.all.error()));
  CHECK(json["pairs"].size() == 2);
  CHECK(json["pairs"][0]["replayed_s"].get<double>() ==
        Approx(compared.comparison.pairs[0].times.measured.value()));
  CHECK(json["pair_published_h800_s"].get<double>() == Approx(0.129));
  CHECK(json["ops"].size() == compared.comparison.ops.size());
}

}  // namespace
}  // namespace orrery
