#include "workload/stage_parameters.hpp"

#include <catch2/catch.hpp>

#include "core/model_reader.hpp"
#include "core/stage_map.hpp"
#include "planner/schedules/dualpipe.hpp"
#include "planner/schedules/one_f_one_b.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/parameters.hpp"

namespace orrery {
namespace {

TEST_CASE("the parameters of all pipeline ranks add up to the model's") {
  for (const char* file : {"models/deepseek-v3.toml", "models/deepseek-v2-lite.toml"}) {
    const Model model = read_model(file);
    for (int pp = 1; pp <= 16; ++pp) {
      for (const int ep : {1, 8, 64}) {
        Layout layout;
        layout.pp = pp;
        layout.ep = ep;
        layout.dp = 128;
        layout.stage_map = even_stage_map(model, pp);
        const Schedule schedule = one_f_one_b(pp, 2 * pp);
        CAPTURE(model.name, pp, ep);
        double sum = 0;
        for (int rank = 0; rank < pp; ++rank) {
          const RankParameters own = rank_parameters(model, layout, schedule, Rank(rank));
          CHECK(own.dense_replicas == 128);
          CHECK(own.expert_replicas == 128 / ep);
          CHECK(own.quantised < own.expert + own.dense);
          sum += own.dense + own.expert * ep;
        }
        // MTP reads the embedding, which the last rank of a pipeline has to hold as well.
        const double again = model.mtp_depth > 0 && pp > 1 ? parameter_counts(model).embedding : 0;
        CHECK(sum == total_parameters(model) + mtp_parameters(model) + again);
      }
    }
  }
}

// DeepSeek-V3 report, section 3.2.3: embedding and head lie on the same rank, which shares them
// with MTP.
TEST_CASE(
    "in a bidirectional schedule every parameter lives twice, and MTP shares embedding and head") {
  const Model model = read_model("models/deepseek-v3.toml");
  for (const int pp : {2, 4, 8, 16}) {
    Layout layout;
    layout.pp = pp;
    layout.ep = 64;
    layout.dp = 64;
    layout.stage_map = even_stage_map(model, pp);
    const Schedule schedule = dualpipe(pp, 2 * pp);
    CAPTURE(pp);
    double sum = 0;
    for (int rank = 0; rank < pp; ++rank) {
      const RankParameters own = rank_parameters(model, layout, schedule, Rank(rank));
      const RankParameters mirrored = rank_parameters(model, layout, schedule, Rank(pp - 1 - rank));
      CHECK(own.dense == mirrored.dense);
      CHECK(own.expert == mirrored.expert);
      CHECK(own.dense_replicas == 128);
      CHECK(own.expert_replicas == 2);
      sum += own.dense + own.expert * 64;
    }
    CHECK(sum == 2 * (total_parameters(model) + mtp_parameters(model)));
  }
}

// DeepSeek-V3 on 2048 GPUs: 4 MoE layers a stage, two stages a rank, 4 routed experts a GPU: 409.1
// M a layer, 3.27 B a GPU.
TEST_CASE("a middle rank of DeepSeek-V3's published layout holds 3.27 billion parameters") {
  const Model model = read_model("models/deepseek-v3.toml");
  Layout layout;
  layout.pp = 16;
  layout.ep = 64;
  layout.dp = 128;
  Diagnostics diagnostics;
  layout.stage_map = parse_stage_map("E,3d,1t | 4t x 14 | 1t,m,L", diagnostics);
  const RankParameters own = rank_parameters(model, layout, dualpipe(16, 32), Rank(5));
  CHECK((own.expert + own.dense) / 1e9 == Approx(3.27).margin(0.005));
  CHECK(own.expert == 8 * 4 * 44040192.0);
  CHECK(own.expert_replicas == 4);
  CHECK(own.dense_replicas == 256);
}

// Divided by tp: heads, MLP widths, vocabulary. Whole on every rank, since they run on tokens / tp:
// norms, router, the MLA down-projections with the norms of their latents, the MTP projection.
// Experts: divided by ep and etp.
TEST_CASE(
    "tensor parallelism divides parameters except those that run on its share of the tokens") {
  const Model model = read_model("models/deepseek-v3.toml");
  const ParameterCounts counts = parameter_counts(model);
  const int layers = model.layers + model.mtp_depth;
  const double latents = 7168.0 * (1536 + 512 + 64) + 1536 + 512;
  const double whole = layers * (counts.layer_norms + latents) +
                       (model.moe_layers() + model.mtp_depth) * counts.router +
                       counts.mtp_projection + counts.final_norm;
  for (const int tp : {1, 2, 4, 8}) {
    for (const int etp : {1, 2}) {
      if (tp % etp != 0) continue;
      Layout layout;
      layout.tp = tp;
      layout.etp = etp;
      layout.ep = 8;
      layout.cp = 2;
      layout.dp = 16;
      layout.stage_map = even_stage_map(model, 1);
      const RankParameters own = rank_parameters(model, layout, one_f_one_b(1, 2), Rank(0));
      CAPTURE(tp, etp);
      CHECK(own.dense * tp + own.expert * 8 * etp - (tp - 1) * whole ==
            Approx(total_parameters(model) + mtp_parameters(model)).epsilon(1e-12));
      CHECK(own.dense_replicas == 32);
      CHECK(own.expert_replicas == 32 * tp / (8 * etp));
    }
  }
}

TEST_CASE("tied embeddings are held once by a rank that has both ends") {
  Model model = read_model("models/deepseek-v2-lite.toml");
  Layout layout;
  layout.stage_map = even_stage_map(model, 1);
  const double apart = rank_parameters(model, layout, one_f_one_b(1, 1), Rank(0)).dense;
  model.tied_embeddings = true;
  CHECK(apart - rank_parameters(model, layout, one_f_one_b(1, 1), Rank(0)).dense == 209715200);
}

}  // namespace
}  // namespace orrery
