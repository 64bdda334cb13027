#include "planner/layouts/rejections.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <utility>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "planner/layouts/space.hpp"
#include "planner/schedules/families.hpp"

namespace orrery {
namespace {

Layout layout_of(int pp, int tp, int cp, int ep) {
  Layout layout;
  layout.pp = pp;
  layout.tp = tp;
  layout.cp = cp;
  layout.ep = ep;
  layout.dp = 0;
  return layout;
}

struct Problem {
  explicit Problem(const char* name = "deepseek-v2-lite")
      : model(read_model(resolve(name, CatalogKind::kModel))),
        cluster(read_cluster(resolve("h800-64", CatalogKind::kCluster))) {
    training.sequence = 4096;
    training.global_batch = 256;
  }

  // The reason that rules a setting out, and its numbers.
  std::pair<std::string, std::string> ruled_out(const Layout& layout, bool has_fp8 = true) const {
    Setting setting{layout, 0};
    const auto reason = rule_out(model, cluster, training, has_fp8, setting);
    if (!reason) return {};
    return {*reason,
            rejection_arithmetic(model, cluster, training, *reason, {setting.layout, "", ""})};
  }
  // The same of a schedule for a setting that is there.
  std::pair<std::string, std::string> ruled_out(const Layout& layout, const std::string& schedule,
                                                int vpp) const {
    Setting setting{layout, 0};
    REQUIRE_FALSE(rule_out(model, cluster, training, true, setting));
    const auto reason = rule_out(model, setting, schedule, vpp);
    if (!reason) return {};
    RejectedPoint point{setting.layout, schedule, ""};
    point.layout.vpp = vpp;
    return {*reason, rejection_arithmetic(model, cluster, training, *reason, point)};
  }

  Model model;
  Cluster cluster;
  Training training;
};

using Answer = std::pair<std::string, std::string>;

TEST_CASE("a setting that cannot be says why with its own numbers") {
  const Problem problem;
  const auto ruled_out = [&](const Layout& layout) { return problem.ruled_out(layout); };
  CHECK(ruled_out(layout_of(2, 1, 1, 8)) == Answer{});
  CHECK(ruled_out(layout_of(3, 1, 1, 1)) ==
        Answer{rejections::kGpus, "the cluster has 64 GPUs, pp*tp*cp = 3*1*1 = 3"});
  CHECK(ruled_out(layout_of(16, 8, 1, 1)) ==
        Answer{rejections::kGpus, "the cluster has 64 GPUs, pp*tp*cp = 16*8*1 = 128"});
  CHECK(
      ruled_out(layout_of(64, 1, 1, 1)) ==
      Answer{rejections::kStages,
             "pp*vpp = 64*1 = 64 stages, but 27 layers, 0 MTP modules, embedding and head = 29 to "
             "place"});
  CHECK(ruled_out(layout_of(1, 32, 1, 1)) ==
        Answer{rejections::kTensor, "tp=32 does not divide heads = 16"});
  CHECK(ruled_out(layout_of(2, 1, 1, 48)) ==
        Answer{rejections::kExperts, "ep=48, but the model has 64 experts"});
  CHECK(ruled_out(layout_of(4, 1, 1, 32)) ==
        Answer{rejections::kExpertGroups, "ep=32, but dp*cp*tp/etp = 16*1*1/1 = 16"});
  Layout etp = layout_of(1, 2, 1, 1);
  etp.etp = 4;
  CHECK(ruled_out(etp) ==
        Answer{rejections::kExpertTensor, "etp=4, but tp=2 and the width of an expert = 1408"});
  Layout large = layout_of(1, 1, 1, 1);
  large.micro_batch = 8;
  CHECK(ruled_out(large) ==
        Answer{rejections::kBatch, "dp*mbs = 64*8 = 512, but the batch has 256 sequences"});
  Layout fp8 = layout_of(1, 1, 1, 1);
  fp8.precision = Precision::kFp8;
  CHECK(problem.ruled_out(fp8, false) ==
        Answer{rejections::kNoFp8,
               "precision=fp8, but a GPU of 'h800-64' computes nothing narrower than BF16"});

  Problem odd;
  odd.training.sequence = 4100;
  CHECK(odd.ruled_out(layout_of(1, 1, 8, 1)) ==
        Answer{rejections::kContext, "2*cp = 16, but the sequence has 4100 tokens"});
  CHECK(odd.ruled_out(layout_of(1, 8, 1, 1)) ==
        Answer{rejections::kTensor, "tp=8 does not divide the tokens of a micro-batch = 4100"});
  const Problem dense("llama-3-70b");
  CHECK(dense.ruled_out(layout_of(1, 1, 1, 2)) ==
        Answer{rejections::kNoExperts, "ep=2, but the model has no experts"});
}

TEST_CASE("a schedule that cannot be says why with its own numbers") {
  const Problem problem;
  const auto ruled_out = [&](int pp, const char* schedule, int vpp) {
    return problem.ruled_out(layout_of(pp, 1, 1, 1), schedule, vpp);
  };
  CHECK(ruled_out(4, "dualpipe", 1) == Answer{});
  CHECK(ruled_out(4, "dualpipe", 2) ==
        Answer{rejections::kChunks,
               "vpp=2, but dualpipe (two stages a rank, one a direction) needs a vpp of 1"});
  CHECK(
      ruled_out(4, "zb-v", 4) ==
      Answer{rejections::kChunks, "vpp=4, but zb-v (two chunks a rank, as a V) needs a vpp of 2"});
  CHECK(
      ruled_out(4, "interleaved", 1) ==
      Answer{rejections::kChunks,
             "vpp=1, but interleaved (several chunks a rank, in waves) needs a vpp of 2 or more"});
  CHECK(
      ruled_out(16, "interleaved", 2) ==
      Answer{rejections::kStages,
             "pp*vpp = 16*2 = 32 stages, but 27 layers, 0 MTP modules, embedding and head = 29 to "
             "place"});
  // dp = 64, four micro-batches.
  const auto [reason, arithmetic] = ruled_out(1, "dualpipe", 1);
  CHECK(reason == rejections::kNoSchedule);
  CHECK(arithmetic == *schedule_family("dualpipe").why_not({.pp = 1, .microbatches = 4}));

  RejectedPoint mirrored{layout_of(4, 1, 1, 1), "chimera", ""};
  mirrored.layout.zero_stage = 3;
  CHECK(rejection_arithmetic(problem.model, problem.cluster, problem.training,
                             rejections::kStagesOnTwoRanks, mirrored) ==
        "zero=3, but chimera (two stages a rank, one a direction) holds each stage on two ranks");
}

}  // namespace
}  // namespace orrery
