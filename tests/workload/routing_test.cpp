#include "workload/routing.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "core/model_reader.hpp"
#include "tests/workload/example_models.hpp"

namespace orrery {
namespace {

Moe v3_gate() {
  return read_model("models/deepseek-v3.toml").moe;
}

Moe without_node_limit() {
  Moe moe = v3_gate();
  moe.groups = moe.groups_per_token = 1;
  return moe;
}

// DeepSeek-V3's gate (report, section 2.1.2) on 8 nodes of 8 GPUs, 32 experts a node, 4 a GPU, with
// independent logits. A token's own node is a target like any other, so 7/8 of the nodes are
// remote: 3.965 x 7/8 = 3.469.
TEST_CASE("DeepSeek-V3's gate reaches 3.965 nodes and 7.49 GPUs a token") {
  const std::uint64_t seed = GENERATE(1, 2, 3, 4, 5);
  CAPTURE(seed);
  const RoutingSpread spread = RoutingSample(v3_gate(), seed).spread(64, 8);
  CHECK(spread.nodes_per_token == Approx(3.965).margin(0.01));
  CHECK(spread.remote_nodes_per_token == Approx(3.469).margin(0.01));
  CHECK(spread.gpus_per_token == Approx(7.49).margin(0.02));
}

// Eight of 256 experts without replacement: 8 (1 - C(224, 8) / C(256, 8)) = 5.29 nodes, 64 (1 -
// C(252, 8) / C(256, 8)) = 7.68 GPUs.
TEST_CASE("without the node limit a token reaches 5.29 nodes and 7.68 GPUs") {
  const std::uint64_t seed = GENERATE(1, 2, 3);
  CAPTURE(seed);
  const RoutingSpread spread = RoutingSample(without_node_limit(), seed).spread(64, 8);
  const auto missed = [](int experts_of_one) {
    double probability = 1;
    for (int choice = 0; choice < 8; ++choice) {
      probability *= (256.0 - experts_of_one - choice) / (256.0 - choice);
    }
    return probability;
  };
  CHECK(8 * (1 - missed(32)) == Approx(5.29).margin(0.005));
  CHECK(64 * (1 - missed(4)) == Approx(7.68).margin(0.005));
  CHECK(spread.nodes_per_token == Approx(8 * (1 - missed(32))).margin(0.03));
  CHECK(spread.remote_nodes_per_token == Approx(4.63).margin(0.03));
  CHECK(spread.gpus_per_token == Approx(64 * (1 - missed(4))).margin(0.02));
}

TEST_CASE("the same seed draws the same tokens, another seed others") {
  const RoutingSpread once = RoutingSample(v3_gate(), 7).spread(64, 8);
  CHECK(RoutingSample(v3_gate(), 7).spread(64, 8) == once);
  CHECK_FALSE(RoutingSample(v3_gate(), 8).spread(64, 8) == once);
  // One sample serves every size: what was asked before does not matter.
  const RoutingSample sample(v3_gate(), 7);
  sample.spread(8, 8);
  CHECK(sample.spread(64, 8) == once);
}

TEST_CASE("one GPU that holds all experts is the only target") {
  const RoutingSpread spread = RoutingSample(v3_gate()).spread(1, 1);
  CHECK(spread == RoutingSpread{1, 0, 1});
  CHECK(RoutingSample(v3_gate()).spread(1, 8) == spread);
}

TEST_CASE("a group inside one node sends nothing to other nodes") {
  for (const int ep : {2, 4, 8}) {
    CAPTURE(ep);
    const RoutingSpread spread = RoutingSample(v3_gate()).spread(ep, 8);
    CHECK(spread.nodes_per_token == 1);
    CHECK(spread.remote_nodes_per_token == 0);
    CHECK(spread.gpus_per_token > 1);
    CHECK(spread.gpus_per_token <= std::min(ep, 8));
  }
}

TEST_CASE("more GPUs in a group never mean fewer targets, and no more than experts chosen") {
  for (const Moe& moe : {v3_gate(), without_node_limit()}) {
    const RoutingSample sample(moe);
    RoutingSpread before;
    for (const int ep : {1, 2, 4, 8, 16, 32, 64, 128, 256}) {
      const RoutingSpread spread = sample.spread(ep, 8);
      CAPTURE(moe.groups, ep);
      CHECK(spread.gpus_per_token >= before.gpus_per_token);
      CHECK(spread.nodes_per_token >= before.nodes_per_token);
      CHECK(spread.gpus_per_token >= spread.nodes_per_token);
      CHECK(spread.gpus_per_token <= moe.top_k);
      CHECK(spread.remote_nodes_per_token <= spread.nodes_per_token);
      before = spread;
    }
    // One expert a GPU: every choice is another GPU.
    CHECK(sample.spread(256, 8).gpus_per_token == moe.top_k);
    // One GPU a node: nodes and GPUs are the same.
    const RoutingSpread alone = sample.spread(64, 1);
    CHECK(alone.nodes_per_token == alone.gpus_per_token);
  }
}

TEST_CASE("the node limit is never exceeded where a node holds one group") {
  for (int limit = 1; limit <= 8; ++limit) {
    Moe moe = v3_gate();
    moe.groups_per_token = limit;
    const RoutingSpread spread = RoutingSample(moe).spread(64, 8);
    CAPTURE(limit);
    CHECK(spread.nodes_per_token <= limit);
    CHECK(spread.nodes_per_token > std::min(limit, 4) * 0.98);
  }
}

TEST_CASE("a dense model has no targets but the GPU itself") {
  CHECK(RoutingSample(qwen_72b().moe).spread(1, 8) == RoutingSpread{});
}

}  // namespace
}  // namespace orrery
