#include "planner/memory.hpp"

#include <catch2/catch.hpp>

#include "planner/device_model.hpp"
#include "planner/plan_builder.hpp"
#include "sim/analytic.hpp"
#include "tests/planner/published_plan.hpp"
#include "workload/lifetimes.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

// A rank of 8 MoE layers (2 stages of 4), EP64: 409.1 M parameters a layer (attention 187.1, shared
// expert 44.0, router 1.8, four routed experts 176.2), 3.27 B in all.
//   gradients  FP32, 4 B each: 13.1 GB
//   optimizer  8 B (FP32 master, two BF16 moments): experts over 4 replicas (2 groups x 2 mirrored
//   ranks), the rest
//              over 256
TEST_CASE("the static memory of a middle rank is what its parameters make it") {
  const PublishedPlan published;
  const MemoryTable table = static_memory(published.plan, published.calibration.device)[7];
  const double experts = 8 * 4 * 44040192.0;
  const double dense = 8 * (187107328.0 + 2 * 7168 + 44040192 + 1835008);
  CHECK(in_gigabytes(table.gradients) == Approx(4 * (experts + dense) / 1e9));
  CHECK(in_gigabytes(table.gradients) == Approx(13.1).margin(0.05));
  CHECK(table.optimizer.value() == Approx(8 * (experts / 4 + dense / 256)));
  // BF16 weights, and FP8 copies of all but norms and router.
  const double quantised = experts + 8 * (187107328.0 + 44040192);
  CHECK(table.weights.value() == Approx(2 * (experts + dense) + quantised).epsilon(1e-3));
  CHECK(table.capacity.value() == 84943110144.0);
}

// DualPipe holds at most pp + 1 = 17 chunks; 1F1B's first rank pp = 16 of one stage.
TEST_CASE("activations follow the schedule: peak chunks times what a chunk keeps") {
  const auto activations = [](const char* schedule, Rank rank) {
    const PublishedPlan published(schedule);
    const CalibratedCost costs = published.costs();
    const Program program = lower(published.plan);
    const Timeline timeline = run_analytic(program, costs, 2048);
    const MemoryTable table = rank_memory(published.plan, costs.device(), program, timeline, rank);
    CHECK(table.total().value() == Approx((table.weights + table.gradients + table.optimizer +
                                           table.activations + table.buffers + table.reserve)
                                              .value()));
    return table.activations;
  };
  const PublishedPlan published;
  const RoutingSpread spread = RoutingSample(published.plan.model.moe).spread(64, 8);
  const Shard shard = make_shard(published.plan.model, published.plan.layout, 4096, spread);
  const Lifetimes layer = lifetimes(shard, LayerKind::kMoe);
  const Bytes chunk = 4 * (layer.until_input_gradient + layer.until_weight_gradient);
  const Bytes last = activations("1f1b", Rank(14));  // 2 chunks of four layers
  const Bytes early = activations("1f1b", Rank(1));  // 15 chunks
  // Beside the kept chunks a backward holds the operands of the weight gradients of a layer or two.
  CHECK((early - last) / chunk == Approx(13).epsilon(1e-9));
  CHECK(last >= 2 * chunk);
  CHECK(last <= 2 * chunk + 2 * layer.weight_operands);
  const Bytes dualpipe = activations("dualpipe", Rank(7));
  CHECK(dualpipe / chunk > 16);
  CHECK(dualpipe <= 17 * chunk + 2 * layer.weight_operands);
}

TEST_CASE("ZeRO-0 keeps all optimizer states on each GPU") {
  PublishedPlan published;
  const Bytes sharded = static_memory(published.plan, published.calibration.device)[3].optimizer;
  published.plan.layout.zero_stage = 0;
  const Bytes whole = static_memory(published.plan, published.calibration.device)[3].optimizer;
  CHECK(in_gigabytes(whole) == Approx(8 * 3.272).epsilon(0.01));
  CHECK(whole > 7 * sharded);
}

// A middle rank of Llama 3 70B, pp = 4, dp = 16 on 128 GPUs with tp = 2, BF16: 20 layers of
// attention 150,994,944 / 2, an MLP 704,643,072 / 2 and two norms of 8192 that both GPUs have
// whole.
//   ZeRO-2  4 B of the shares and of two layers
//   ZeRO-3  2 B of the shares and of two layers, of four where a forward and a backward pair
TEST_CASE("ZeRO-2 and 3 keep shares, and two layers whole") {
  Model model = read_model("models/llama-3-70b.toml");
  const Cluster cluster = read_cluster("topologies/h100-128.toml");
  const DeviceModel device(read_device_model("calibration/" + cluster.device + ".toml", cluster));
  Training training;
  training.global_batch = 128;
  double layers = 0;  // of the rank asked about last
  const auto table = [&](const char* schedule, int zero) {
    Layout layout;
    layout.pp = 4;
    layout.tp = 2;
    layout.dp = 0;
    layout.zero_stage = zero;
    layout.precision = Precision::kBf16;
    const Plan plan =
        build_plan({model, cluster, training, layout, schedule, std::nullopt, device.reference()},
                   device.costs());
    layers = 0;
    for (const ChunkPlace& chunk : plan.schedule.chunks[1])
      layers += static_cast<double>(plan.layout.stage_map[chunk.stage.index()].size());
    return static_memory(plan, device.device())[1];
  };
  constexpr double kDivided = (150994944.0 + 704643072.0) / 2, kWhole = 2 * 8192.0;
  constexpr double kLayer = kDivided + kWhole;
  constexpr double kShare = kDivided / 16 + kWhole / 32;
  const MemoryTable one = table("1f1b", 1), two = table("1f1b", 2), three = table("1f1b", 3);
  CHECK(layers == 20);
  CHECK(one.gradients.value() == Approx(4 * 20 * kLayer));
  CHECK(two.gradients.value() == Approx(4 * (20 * kShare + 2 * kLayer)));
  CHECK(three.gradients.value() == Approx(two.gradients.value()));
  CHECK(two.weights.value() == Approx(one.weights.value()));
  CHECK(one.weights.value() == Approx(2 * 20 * kLayer));
  CHECK(three.weights.value() == Approx(2 * (20 * kShare + 2 * kLayer)));
  CHECK(two.optimizer.value() == Approx(one.optimizer.value()));
  CHECK(three.optimizer.value() == Approx(one.optimizer.value()));
  const MemoryTable paired = table("dualpipev", 3);
  CHECK(paired.weights.value() == Approx(2 * (layers * kShare + 4 * kLayer)));
  CHECK(paired.gradients.value() == Approx(4 * (layers * kShare + 2 * kLayer)));
}

// Experts without a second holder are not divided: their weights, gradients and FP8 copies stay.
TEST_CASE("what has no replica stays whole with ZeRO-3") {
  PublishedPlan published("1f1b");
  Plan& plan = published.plan;
  const auto table = [&](int ep, int zero) {
    plan.layout.ep = ep;
    plan.layout.zero_stage = zero;
    return static_memory(plan, published.calibration.device)[7];
  };
  const MemoryTable one = table(128, 1), three = table(128, 3);
  const double experts = 4 * 2 * 44040192.0;  // four layers, two experts each
  CHECK(three.weights.value() > 3 * experts);
  const double attention = 187107328.0, shared = 44040192.0, rest = 2 * 7168 + 1835008.0;
  const double layer = attention + shared + rest;
  CHECK(three.weights.value() ==
        Approx(3 * experts + 2 * (4 * layer / 128 + 2 * layer) + 2 * (attention + shared))
            .epsilon(1e-3));
  CHECK(three.gradients.value() == Approx(4 * (experts + 4 * layer / 128 + 2 * layer)));
  CHECK(one.gradients.value() == Approx(4 * (experts + 4 * layer)));
}

TEST_CASE("the optimizer's states leave the GPU with the optimizer, an average comes with itself") {
  PublishedPlan published;
  const MemoryTable before = static_memory(published.plan, published.calibration.device)[7];
  published.plan.layout.optimizer = Keep::kCpu;
  published.plan.layout.ema = Keep::kGpu;
  const MemoryTable after = static_memory(published.plan, published.calibration.device)[7];
  CHECK(after.optimizer.value() == 0);
  // FP32 of what has an FP32 master and two BF16 moments.
  CHECK(after.ema.value() == Approx(before.optimizer.value() / 2));
  CHECK((after.total() - before.total()).value() == Approx(-before.optimizer.value() / 2));
}

TEST_CASE("a rank's peak is one moment of its own buffers") {
  const PublishedPlan published;
  const Program program = lower(published.plan);
  const CalibratedCost costs(published.calibration, published.plan.cluster);
  const Timeline timeline = run_analytic(program, costs, published.plan.layout.gpus());
  for (const int number : {0, 3, 7}) {
    const Rank rank(number);
    const MemoryPeak peak = memory_peak(program, timeline, rank);
    REQUIRE(peak.at.valid());
    CHECK(program.instructions[peak.at.index()].rank == rank);
    CHECK(timeline.at(peak.at).start == peak.when);
    // What is live then, counted buffer by buffer.
    double live = 0;
    for (const Instruction& instruction : program.instructions) {
      if (instruction.rank != rank) continue;
      for (const BufferEvent& event : program.events_of(instruction)) {
        const Span& span = timeline.at(instruction.id);
        const double bytes = program.buffers[static_cast<std::size_t>(event.buffer)].bytes.value();
        if (event.alloc && span.start <= peak.when) live += bytes;
        if (!event.alloc && span.end <= peak.when) live -= bytes;
      }
    }
    CHECK(live == Approx((peak.activations + peak.received).value()));
  }
}

}  // namespace
}  // namespace orrery
