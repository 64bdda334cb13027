#include "core/plan_json.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <random>

#include "core/cluster_reader.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "core/model_reader.hpp"
#include "core/schedule_json.hpp"
#include "tests/core/example_plan.hpp"

namespace orrery {
namespace {

Plan from_json(const std::string& text) {
  Diagnostics diagnostics;
  return read_plan(parse_json("plan.json", text, diagnostics), diagnostics);
}

// The published layout with a bidirectional schedule of random cells: what the file format must
// carry, whether or not the schedule is any good.
Plan random_plan(std::mt19937_64& random) {
  Plan plan;
  plan.model = read_model("models/deepseek-v3.toml");
  plan.cluster = read_cluster("topologies/h800-2048.toml");
  plan.model.name = std::string("quote \" slash \\ tab \t \xc3\xa4");
  plan.cluster.nvlink.latency = Seconds{std::ldexp(static_cast<double>(random()), -80)};
  plan.cluster.nic.bandwidth =
      BytesPerSecond{static_cast<double>(random() % 1000000007 + 1) / 3.0 * 1e3};
  plan.cluster.fabric.oversubscription = 1 + static_cast<double>(random() % 1000) / 999.0;
  plan.cluster.price_per_gpu_hour = Dollars{static_cast<double>(random() % 1000) / 7.0};
  plan.cluster.assumed = {{"x: y", "because \"so\""}};
  plan.layout.pp = 16;
  plan.layout.ep = 64;
  plan.layout.dp = 128;
  plan.layout.zero_stage = static_cast<int>(random() % 4);
  plan.layout.comm_sms = static_cast<int>(random() % 101);
  plan.layout.precision = static_cast<Precision>(random() % 3);
  plan.layout.attention = static_cast<AttentionKernels>(random() % 2);
  plan.layout.recompute = static_cast<Recompute>(random() % 3);
  Diagnostics diagnostics;
  plan.layout.stage_map = parse_stage_map(*plan.model.stage_map, diagnostics);
  const int microbatches = 2 * (1 + static_cast<int>(random() % 60));
  plan.training.global_batch = 128 * microbatches;
  plan.training.tokens = static_cast<double>(random() % 1000000) * 1e7 / 3;
  plan.training.seed = random();
  plan.training.moments = static_cast<ScalarType>(random() % 3);
  plan.training.master = static_cast<ScalarType>(random() % 3);
  plan.training.gradient = static_cast<ScalarType>(random() % 3);
  plan.calibration = {"h800", "0123456789abcdef"};
  Schedule& schedule = plan.schedule;
  schedule.family = "dualpipe";
  schedule.microbatches = microbatches;
  schedule.directions = 2;
  for (int rank = 0; rank < 16; ++rank) {
    schedule.chunks.push_back({{Stage{rank}, 0}, {Stage{15 - rank}, 1}});
    const auto half = [&] {
      const int chunk = static_cast<int>(random() % 2);
      const auto microbatch = static_cast<int>(random() % static_cast<unsigned>(microbatches / 2));
      return Half{Microbatch{chunk * microbatches / 2 + microbatch}, ChunkId{chunk}};
    };
    auto& cells = schedule.ranks.emplace_back();
    for (std::size_t count = random() % 40; count > 0; --count) {
      Cell cell;
      cell.kind = static_cast<CellKind>(random() % 6);
      if (cell.has_forward()) cell.forward = half();
      if (cell.kind != CellKind::kF) cell.backward = half();
      cells.push_back(cell);
    }
  }
  return plan;
}

}  // namespace

TEST_CASE("a plan reads back equal, bit by bit, and writes the same bytes again") {
  std::mt19937_64 random(17);
  for (int round = 0; round < 60; ++round) {
    const Plan plan = random_plan(random);
    const std::string text = to_json(plan);
    CAPTURE(round);
    const Plan back = from_json(text);
    REQUIRE(back == plan);
    REQUIRE(to_json(back) == text);
  }
}

TEST_CASE("the small plan has exactly the committed text") {
  const Plan plan = example_plan();
  CHECK(to_json(plan) == read_file("tests/data/input/plan-small.json"));
  CHECK(read_plan("tests/data/input/plan-small.json") == plan);
}

TEST_CASE("cells are compact and name micro-batch and chunk") {
  CHECK(format_cell(forward_cell(Microbatch{12}, ChunkId{0})) == "F:12.0");
  CHECK(format_cell(backward_cell(CellKind::kI, Microbatch{3}, ChunkId{1})) == "I:3.1");
  CHECK(format_cell(pair_cell({Microbatch{13}, ChunkId{0}}, {Microbatch{2}, ChunkId{1}})) ==
        "FB:13.0|2.1");
}

TEST_CASE("a plan of a newer minor version is read, its new keys ignored") {
  std::string text = to_json(example_plan());
  text.replace(text.find("\"1.0\""), 5, "\"1.3\"");
  text.replace(text.find("\"training\": {"), 13, "\"training\": {\"new_figure\": 3,");
  CHECK(from_json(text) == example_plan());
}

TEST_CASE("a dense model with grouped-query attention survives the round trip") {
  Plan plan = example_plan();
  plan.model.moe = {};
  plan.model.dense_layers = plan.model.layers;
  plan.model.attention = {AttentionKind::kGqa, 8, 2, 0, 0, 0, 64, 32};
  plan.layout.ep = 1;
  Diagnostics diagnostics;
  plan.layout.stage_map = parse_stage_map("E,2d | 1d x 2 | 2d,L", diagnostics);
  CHECK(from_json(to_json(plan)) == plan);
}

TEST_CASE("a damaged plan gives an InputError or a plan, never anything else") {
  const std::string good = to_json(example_plan());
  std::mt19937 random(23);
  int refused = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string text = good;
    for (int edit = 0; edit < 2; ++edit) {
      const std::size_t at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = "0123456789-.:\"|[]{},FBWIx"[random() % 25]; break;
        case 1: text.erase(at, 1 + random() % 3); break;
        default: text.insert(at, 1, "0123456789"[random() % 10]);
      }
    }
    CAPTURE(round);
    try {
      from_json(text);
    } catch (const InputError&) {
      ++refused;
    }
  }
  CHECK(refused > 500);
}

}  // namespace orrery
