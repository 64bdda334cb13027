#include "planner/memory.hpp"

#include <catch2/catch.hpp>

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
