#include "core/layout_check.hpp"

#include <catch2/catch.hpp>
#include <random>

#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "core/stage_map.hpp"

namespace orrery {
namespace {

struct Problem {
  Model model = read_model("models/deepseek-v3.toml");
  Cluster cluster = read_cluster("topologies/h800-2048.toml");
  Training training;

  Problem() { training.global_batch = 15360; }

  // Parses and checks; all messages.
  std::string errors(std::string_view text) {
    Diagnostics diagnostics;
    layout = parse_layout(text, diagnostics);
    if (!diagnostics.has_errors()) check_layout(model, cluster, training, layout, diagnostics);
    return diagnostics.render();
  }

  Layout layout;
};

}  // namespace

TEST_CASE("the layout of DeepSeek-V3 fits and leaves dp 128") {
  Problem problem;
  CHECK(problem.errors("pp=16,ep=64") == "");
  CHECK(problem.layout.dp == 128);
  CHECK(problem.layout.gpus() == 2048);
  CHECK(problem.errors(
            " pp = 16 , ep=64, dp=128 ,zero=1,comm-sms=24,precision=bf16,recompute=full") == "");
  CHECK(problem.layout.comm_sms == 24);
  CHECK(problem.layout.precision == Precision::kBf16);
  CHECK(problem.layout.recompute == Recompute::kFull);
}

TEST_CASE("a layout that cannot be split gives the numbers and the nearest that can") {
  const auto [text, message] = GENERATE(table<std::string, std::string>({
      {"pp=16,ep=48", "ep=48 does not divide the 256 experts\n   = nearest: 32, 64"},
      {"pp=16,ep=256",
       "ep=256 is more than dp*cp = 128*1 = 128, the GPUs it is spread over\n   = nearest: 128"},
      {"pp=16,tp=2,ep=256",
       "ep=256 is more than dp*cp*tp/etp = 64*1*2/1 = 128, the GPUs it is spread over\n"
       "   = nearest: 128"},
      {"pp=16,tp=4,etp=2,ep=128",
       "ep=128 is more than dp*cp*tp/etp = 32*1*4/2 = 64, the GPUs it is spread over\n"
       "   = nearest: 64"},
      {"pp=64,tp=64",
       "the cluster has 2048 GPUs, pp*tp*cp = 64*64*1 = 4096: not even one replica fits"},
      {"pp=3",
       "the cluster has 2048 GPUs, which pp*tp*cp = 3*1*1 = 3 does not divide\n   = nearest: 2, 4"},
      {"pp=16,dp=64", "dp=64, but 2048 GPUs / (pp*tp*cp = 16*1*1 = 16) = 128"},
      {"pp=16,tp=2,etp=4", "etp=4 does not divide tp=2\n   = nearest: 2"},
      {"pp=16,tp=3", "tp=3 does not divide heads = 128\n   = nearest: 2, 4"},
      {"pp=128",
       "pp*vpp = 128*1 = 128 stages, but the model has only 61 layers, 1 MTP modules, embedding "
       "and head = "
       "64 to place"},
      {"pp=16,mbs=7",
       "the global batch of 15360 sequences is not a multiple of dp*mbs = 128*7 = 896\n"
       "   = nearest: 15232, 16128"},
      {"pp=16,comm-sms=132", "comm-sms must be 0 to 100, found 132"},
      {"pp=16,mbs=100000,tp=16", "the global batch of 15360 sequences is not a multiple"},
  }));
  CAPTURE(text);
  Problem problem;
  CHECK_THAT(problem.errors(text), Catch::Contains("error: " + message));
}

TEST_CASE("expert parallelism reaches across the tensor-parallel GPUs of a replica") {
  Problem problem;
  CHECK(problem.errors("pp=16,tp=2,ep=64") == "");
  CHECK(expert_fold(problem.layout) == 1);
  CHECK(problem.errors("pp=16,tp=2,ep=128") == "");
  CHECK(problem.layout.dp == 64);
  CHECK(expert_fold(problem.layout) == 2);
  CHECK(problem.errors("pp=16,tp=8,etp=2,ep=64") == "");
  CHECK(problem.layout.dp == 16);
  CHECK(expert_fold(problem.layout) == 4);
}

TEST_CASE("context parallelism needs two parts of the sequence a rank") {
  Problem problem;
  problem.training.sequence = 4100;
  CHECK_THAT(problem.errors("pp=16,cp=4"),
             Catch::Contains("2*cp = 8 does not divide the sequence of 4100 tokens"));
  problem.training.sequence = 4096;
  CHECK(problem.errors("pp=16,cp=4,ep=64") == "");
  CHECK(problem.layout.dp == 32);
}

TEST_CASE("a dense model has no experts to spread") {
  Problem problem;
  problem.model.moe = {};
  problem.model.dense_layers = problem.model.layers;
  CHECK_THAT(problem.errors("pp=16,ep=8"), Catch::Contains("ep=8, but the model has no experts"));
  CHECK(problem.errors("pp=16") == "");
}

TEST_CASE("grouped-query attention splits its kv heads too") {
  Problem problem;
  problem.model.attention = {AttentionKind::kGqa, 32, 4, 0, 0, 0, 128, 128};
  CHECK_THAT(problem.errors("pp=16,tp=8"), Catch::Contains("tp=8 does not divide kv_heads = 4"));
}

TEST_CASE("a stage map of the layout is checked against pp times vpp") {
  Problem problem;
  Diagnostics diagnostics;
  Layout layout = parse_layout("pp=8,vpp=2,ep=64", diagnostics);
  layout.stage_map = parse_stage_map(*problem.model.stage_map, diagnostics);
  check_layout(problem.model, problem.cluster, problem.training, layout, diagnostics);
  CHECK(diagnostics.render() == "");
  layout.vpp = 1;
  check_layout(problem.model, problem.cluster, problem.training, layout, diagnostics);
  CHECK_THAT(diagnostics.render(),
             Catch::Contains("the stage map has 16 stages, the layout needs 8"));
}

TEST_CASE("errors in a layout's text point at the word") {
  const auto [text, column, message,
              hint] = GENERATE(table<std::string, int, std::string, std::string>({
      {"pp=16,eq=64", 7, "unknown layout key 'eq'", "did you mean 'ep'?"},
      {"pp=16,comm_sms=20", 7, "unknown layout key 'comm_sms'", "did you mean 'comm-sms'?"},
      {"pp=x", 4, "expected an integer for 'pp', found 'x'", ""},
      {"pp=", 4, "expected an integer for 'pp', found ''", ""},
      {"pp=0", 4, "'pp' must be 1 to 1000000, found 0", ""},
      {"pp=99999999999999999999", 4, "'pp' must be 1 to 1000000, found 99999999999999999999", ""},
      {"pp=1,pp=2", 6, "'pp' is given twice", ""},
      {"pp", 1, "expected key=value, found 'pp'", "write pp=16,ep=64"},
      {"precision=fp16", 11, "unknown precision 'fp16'", "one of: fp8, bf16, fp8-tensor"},
      {"zero=4", 6, "'zero' must be 0 to 3, found 4", ""},
      {"pp=1,", 6, "expected key=value", ""},
      {"pp=1,,ep=2", 6, "expected key=value", ""},
  }));
  CAPTURE(text);
  Diagnostics diagnostics;
  parse_layout(text, diagnostics);
  REQUIRE(diagnostics.errors() == 1);
  CHECK(diagnostics.all()[0].message == message);
  CHECK(diagnostics.all()[0].hint == hint);
  CHECK(diagnostics.all()[0].place.col == column);
}

TEST_CASE("an accepted layout uses every GPU and splits everything evenly") {
  Problem problem;
  std::mt19937 random(2);
  int accepted = 0;
  for (int round = 0; round < 5000; ++round) {
    problem.cluster.nodes = 1 + static_cast<int>(random() % 300);
    Layout layout;
    layout.pp = 1 << random() % 6;
    layout.tp = 1 << random() % 4;
    layout.cp = 1 << random() % 3;
    layout.etp = 1 << random() % 2;
    layout.ep = 1 << random() % 8;
    layout.dp = 0;
    layout.micro_batch = 1 + static_cast<int>(random() % 3);
    problem.training.global_batch = 1 + static_cast<int>(random() % 4096);
    Diagnostics diagnostics;
    check_layout(problem.model, problem.cluster, problem.training, layout, diagnostics);
    if (diagnostics.has_errors()) continue;
    ++accepted;
    CAPTURE(round, describe(layout));
    CHECK(layout.gpus() == problem.cluster.gpus());
    const int blocks = layout.tp / layout.etp;
    CHECK(layout.tp % layout.etp == 0);
    CHECK(layout.dp * layout.cp * blocks % layout.ep == 0);
    CHECK(blocks % expert_fold(layout) == 0);
    CHECK(problem.training.global_batch % (layout.dp * layout.micro_batch) == 0);
  }
  CHECK(accepted > 5);
}

}  // namespace orrery
