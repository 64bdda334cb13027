#include "planner/campaign/campaign.hpp"

#include <catch2/catch.hpp>

#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/error.hpp"
#include "core/model_reader.hpp"
#include "planner/campaign/campaign_parts.hpp"
#include "planner/campaign/goodput.hpp"
#include "planner/plan_builder.hpp"
#include "planner/plan_cells.hpp"

namespace orrery {
namespace {

CampaignRequest small_request() {
  CampaignRequest request;
  request.recipe = read_campaign_recipe(ORRERY_TEST_DATA "/input/recipe-small.toml");
  request.model = read_model(resolve(request.recipe.model, CatalogKind::kModel));
  request.cluster = read_cluster(resolve(request.recipe.cluster, CatalogKind::kCluster));
  request.device = [](const Cluster& cluster) {
    return read_device_model(resolve(cluster.device, CatalogKind::kCalibration), cluster);
  };
  request.fix = "pp=4,tp=1,etp=1,mbs=1,recompute=selective,precision=fp8,optimizer=gpu,ema=cpu";
  request.finalists = 1;
  return request;
}

TEST_CASE("the batch ramp divides its tokens evenly and loses none", "[campaign]") {
  Phase phase;
  phase.sequence = 4096;
  phase.batch = 15360;
  phase.tokens = CostRange::exactly(14.8e12);
  phase.ramp = BatchRamp{3072, 3072, 469e9};
  const std::vector<PricedPiece> pieces = pieces_of(phase);
  REQUIRE(pieces.size() == 5);
  double sum = 0;
  for (std::size_t at = 0; at < pieces.size(); ++at) {
    CHECK(pieces[at].training.global_batch == 3072 * static_cast<int>(at + 1));
    if (at < 4) CHECK(pieces[at].tokens.middle == Approx(469e9 / 4));
    sum += pieces[at].tokens.middle;
  }
  CHECK(sum == Approx(14.8e12));
}

TEST_CASE("a recipe's phases say how much is trained", "[campaign]") {
  const CampaignRecipe recipe = read_campaign_recipe(ORRERY_TEST_DATA "/input/recipe-small.toml");
  REQUIRE(recipe.phases.size() == 4);
  CHECK(recipe.phases[0].tokens == CostRange::exactly(1e12));
  CHECK(recipe.phases[1].tokens == CostRange::exactly(500.0 * 64 * 32768));
  CHECK(recipe.phases[2].tokens == CostRange{6e7, 1.5e8, 3e8});
  const Reinforcement& rl = *recipe.phases[3].rl;
  CHECK(rl.written.middle == 100 * 512 * 1000.0);
  CHECK(recipe.phases[3].tokens.high == 100 * 512 * (2000.0 + 200.0));
  // The fastest rollouts cost least.
  CHECK(rl.rollout_gpu_seconds == CostRange{1 / 4000.0, 1 / 2000.0, 1 / 1000.0});
}

TEST_CASE("the recipe of DeepSeek-V3 trains on what its report says", "[campaign]") {
  const CampaignRecipe recipe = read_campaign_recipe(resolve("deepseek-v3", CatalogKind::kRecipe));
  double pre = 0, context = 0;
  for (const Phase& phase : recipe.phases) {
    if (phase.part == "pre-training") pre += phase.tokens.middle;
    if (phase.part == "context extension") context += phase.tokens.middle;
  }
  CHECK(pre == 14.8e12);
  CHECK(context == 2 * 1000 * 1920 * 32768.0);
}

TEST_CASE("a campaign adds up", "[campaign]") {
  const Campaign campaign = price_campaign(small_request());
  REQUIRE(campaign.feasible());
  double sum = 0;
  for (const PricedPhase& phase : campaign.phases) {
    double own = 0;
    for (const PricedPiece& piece : phase.pieces) {
      const double steps = piece.tokens.middle / piece.training.tokens_per_step();
      own += steps * piece.best->step.value() * phase.cluster.gpus() / 3600;
      // Nothing beats the best layout but for the last digit of contention.
      if (piece.as_run) CHECK(piece.best->step <= piece.as_run->step * 1.01);
    }
    if (phase.phase.rl) {
      CHECK(phase.rollout_gpu_hours.middle == Approx(100 * 512 * 1000 / 2000.0 / 3600));
      own += phase.rollout_gpu_hours.middle + phase.forward_gpu_hours.middle;
    }
    CHECK(phase.gpu_hours().middle == Approx(own));
    sum += own;
  }
  CHECK(campaign.gpu_hours().middle == Approx(sum));
  CHECK(campaign.phases[0].pieces.size() == 3);
  CHECK(campaign.phases[2].cluster.gpus() == 32);
  // Fine-tuning and reinforcement learning train alike.
  CHECK(campaign.phases[2].pieces[0].best->plan.layout ==
        campaign.phases[3].pieces[0].best->plan.layout);

  const std::vector<CampaignPart> parts = campaign_parts(campaign);
  REQUIRE(parts.size() == 2);
  CHECK(parts[0].as_run);
  CHECK_FALSE(parts[1].as_run);
  CHECK(parts[0].best.middle + parts[1].best.middle == Approx(sum));

  const auto goodput = campaign_goodput(campaign, {std::nullopt, 500, 1});
  REQUIRE(goodput);
  CHECK(goodput->gpu_hours > sum);
  CHECK(goodput->mean == Approx(goodput->gpu_hours).epsilon(0.005));
  CHECK(goodput->p10 <= goodput->p50);
  CHECK(goodput->p50 <= goodput->p90);

  // A run that is shorter than the interval is saved once, at its end.
  const auto once = campaign_goodput(campaign, {Seconds{1e30}, 50, 1});
  REQUIRE(once);
  for (const PhaseGoodput& phase : once->phases) CHECK(phase.interval == phase.work);
  // Where next to no work gets through, nothing is drawn.
  Campaign fragile = campaign;
  fragile.cluster.reliability->gpu_mtbf = Seconds{3600 * 100};
  CHECK_NOTHROW(campaign_goodput(fragile, {std::nullopt, 1, 1}));
  CHECK_THROWS_WITH(campaign_goodput(fragile, {Seconds{3600 * 50}, 1, 1}),
                    Catch::Contains("save more often"));
  CHECK_THROWS_WITH(campaign_goodput(fragile, {std::nullopt, 2'000'000, 1}),
                    Catch::Contains("fewer --runs"));
}

TEST_CASE("a forward alone takes the path and the slowest rank", "[campaign]") {
  const CampaignRequest request = small_request();
  const DeviceModel device = request.device(request.cluster);
  Training training;
  training.global_batch = 128;
  const auto plan = [&](int pp, const char* schedule, int vpp) {
    Layout layout;
    layout.pp = pp;
    layout.dp = 0;
    layout.ep = 8;
    layout.vpp = vpp;
    return build_plan({request.model, request.cluster, training, layout, schedule, std::nullopt,
                       device.reference()},
                      device.costs());
  };
  // One rank: one F after another.
  const Plan alone = plan(1, "1f1b", 1);
  const double f = plan_cell_times(alone, device.costs()).stages[0][0].F.value();
  CHECK(forward_time(alone, device.costs()).value() == Approx(f * alone.microbatches()));
  // A rank takes one micro-batch after another, each as it arrives.
  for (const char* schedule : {"1f1b", "dualpipe"}) {
    const Plan piped = plan(4, schedule, 1);
    const CellTimes times = plan_cell_times(piped, device.costs());
    std::vector<double> free(4, 0.0);
    for (int microbatch = 0; microbatch < piped.microbatches(); ++microbatch) {
      double arrival = 0;
      for (int stage = 0; stage < 4; ++stage) {
        const ChunkPlace place{Stage{stage}, 0};
        double& end = free[static_cast<std::size_t>(stage)];
        end = std::max(arrival, end) + times.at(place).F.value();
        arrival = end + times.latency(place, false).value();
      }
    }
    CHECK(forward_time(piped, device.costs()).value() == Approx(free.back()));
  }
}

TEST_CASE("phases must fit the cluster", "[campaign]") {
  CampaignRequest request = small_request();
  request.recipe.phases.resize(1);
  request.recipe.phases[0].gpus = 128;
  CHECK_THROWS_WITH(price_campaign(request), Catch::Contains("h800-64 has 64"));
  request.recipe.phases[0].gpus = 12;
  CHECK_THROWS_WITH(price_campaign(request), Catch::Contains("8 each"));
}

}  // namespace
}  // namespace orrery
