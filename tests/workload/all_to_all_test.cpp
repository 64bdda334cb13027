// Experts' rows by NCCL's all-to-all, against a token once a node.
#include <catch2/catch.hpp>

#include "core/cluster_reader.hpp"
#include "core/model_reader.hpp"
#include "sim/calibrated_cost.hpp"
#include "workload/moe_ops.hpp"

namespace orrery {
namespace {

Shard v3_shard(ExchangeKernels exchange) {
  Layout layout;
  layout.ep = 64;
  layout.precision = Precision::kBf16;
  layout.exchange = exchange;
  RoutingSpread spread;
  spread.nodes_per_token = 3.965;
  spread.remote_nodes_per_token = 3.5;
  spread.gpus_per_token = 7.49;
  return make_shard(read_model("models/deepseek-v3.toml"), layout, 4096, spread);
}

// 4096 tokens x 8 experts x 7168 x 2 bytes = 469 762 048; of 64 GPUs 56 are in other nodes, 7 in
// the own. A token once to each of 3.5 other nodes is 205 520 896 on the NIC: 2.0 times less.
TEST_CASE("an all-to-all sends a row for every expert, in both directions in BF16") {
  const Shard shard = v3_shard(ExchangeKernels::kNccl);
  for (const Pattern pattern : {Pattern::kDispatch, Pattern::kDispatchCached, Pattern::kCombine,
                                Pattern::kCombineGradient}) {
    const Wire wire = expert_exchange(shard, pattern, 8);
    CHECK(wire.pattern == pattern);
    CHECK(wire.all_to_all);
    CHECK(wire.logical.value() == 469762048.0 * 63 / 64);
    CHECK(wire.nic.value() == 469762048.0 * 56 / 64);
    CHECK(wire.nvlink.value() == 469762048.0 * 7 / 64);
    const Wire once = expert_exchange(v3_shard(ExchangeKernels::kDeepEp), pattern, 8);
    CHECK_FALSE(once.all_to_all);
    CHECK(once.nic.value() == 205520896.0);
  }
  CHECK(shard.forward_rows.rows == 4096 * 8);
  CHECK(shard.forward_rows.unique == 4096 * 8);
  const Wire alone = expert_exchange(shard, Pattern::kDispatch, 64);
  CHECK(alone.nic.value() == 0);
}

// 411 041 792 bytes at the 46 GB/s of calibration/h100.toml: 8.94 ms; DeepEP's measured rate plays
// no part.
TEST_CASE("an all-to-all takes the rates of the transports") {
  const Cluster cluster = read_cluster("topologies/h100-1024.toml");
  const CalibratedCost costs(read_calibration("calibration/h100.toml"), cluster);
  Work work;
  work.wire = expert_exchange(v3_shard(ExchangeKernels::kNccl), Pattern::kDispatch, 8);
  for (const bool beside : {false, true}) {
    const TransferCost cost = costs.transfer(work, beside, 20);
    CHECK(cost.nic_limit.value() == Approx(46e9));
    CHECK(cost.nvlink_limit.value() == Approx(370e9));
    CHECK(cost.fixed == cluster.fabric.cross_leaf_latency);
  }
}

// The sender orders 8 rows a token and sums them, once a pass: (1 + 8) x 7168 x 2 bytes each.
TEST_CASE("rows are ordered before an all-to-all and summed after it by kernels of their own") {
  const auto bytes = [](const Steps& steps) {
    double sum = 0;
    for (const Step& step : steps) {
      for (const Op& op : step.ops) {
        if (op.kernel == KernelClass::kExpand || op.kernel == KernelClass::kReduce)
          sum += op.bytes.value();
      }
    }
    return sum;
  };
  const Shard nccl = v3_shard(ExchangeKernels::kNccl), once = v3_shard(ExchangeKernels::kDeepEp);
  const double sent = 4096 * 9.0 * 7168 * 2;
  // At the experts as many rows arrive as leave: 16 a token instead of 15.49, in both.
  const double received = 4096 * (8 - 7.49) * 7168 * 2;
  CHECK(bytes(router_forward(nccl)) == Approx(sent));
  CHECK(bytes(router_forward(once)) == 0);
  CHECK(bytes(experts_forward(nccl)) - bytes(experts_forward(once)) == Approx(sent + 2 * received));
  CHECK(bytes(experts_input_gradient(nccl)) - bytes(experts_input_gradient(once)) ==
        Approx(2 * sent + 2 * received));
}

}  // namespace
}  // namespace orrery
