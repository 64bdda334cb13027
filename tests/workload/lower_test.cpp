#include "workload/lower.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "core/error.hpp"
#include "core/model_reader.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/parameters.hpp"
#include "workload/placement.hpp"
#include "workload/stage_parameters.hpp"

namespace orrery {
namespace {

TEST_CASE("instructions are numbered densely and each stands in exactly one stream") {
  for (const PlanShape& shape : plan_shapes()) {
    const Program program = lower(plan_of(shape));
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(shape.layout));
    REQUIRE(program.pp == shape.layout.pp);
    REQUIRE(program.streams.size() == static_cast<std::size_t>(program.pp));
    std::vector<int> seen(program.instructions.size(), 0);
    for (std::size_t rank = 0; rank < program.streams.size(); ++rank) {
      for (std::size_t stream = 0; stream < kStreams; ++stream) {
        for (InstructionId id : program.streams[rank][stream]) {
          REQUIRE(id.index() < program.instructions.size());
          ++seen[id.index()];
          CHECK(program.instructions[id.index()].rank.index() == rank);
          CHECK(static_cast<std::size_t>(program.instructions[id.index()].stream) == stream);
        }
      }
    }
    CHECK(seen == std::vector<int>(seen.size(), 1));
    for (std::size_t id = 0; id < program.instructions.size(); ++id) {
      const Instruction& instruction = program.instructions[id];
      CHECK(instruction.id.index() == id);
      REQUIRE(instruction.work.index() < program.works.size());
      const bool compute = instruction.stream == Stream::kCompute;
      CHECK(compute == program.work(instruction).is_compute());
      for (InstructionId dep : program.deps_of(instruction)) {
        CHECK(program.instructions[dep.index()].rank == instruction.rank);
      }
    }
  }
}

TEST_CASE("a Program can be carried out to its end") {
  for (const PlanShape& shape : plan_shapes()) {
    const Program program = lower(plan_of(shape));
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(shape.layout));
    CHECK(walk(program, WalkOrder::kEarliestFirst).size() == program.instructions.size());
    CHECK(walk(program, WalkOrder::kLatestFirst).size() == program.instructions.size());
  }
}

TEST_CASE("the same plan gives the same Program") {
  const Plan plan = plan_of(plan_shapes()[4]);
  const Program once = lower(plan);
  const Program again = lower(plan);
  CHECK(once.works == again.works);
  CHECK(once.deps == again.deps);
  CHECK(once.streams == again.streams);
  CHECK(once.collectives == again.collectives);
  CHECK(once.buffers == again.buffers);
}

// FLOPs of a step, by the published count (workload/parameters.hpp) plus what it leaves out:
//   - the fifth product of the attention backward, T S heads d_qk a layer, T S / 2 scores of 2 d_qk
//   FLOPs;
//   - the router, 6 d experts a token and MoE layer;
//   - MTP: another MoE layer, another head, a projection of 2 d x d.
// No recomputation. Each GPU of a pipeline rank runs the same Program.
TEST_CASE("the FLOPs of all GPUs in a step are those of the model times its tokens") {
  for (PlanShape& shape : plan_shapes()) {
    shape.layout.recompute = Recompute::kNone;
    const Plan plan = plan_of(shape);
    const Program program = lower(plan);
    double executed = 0;
    for (const Instruction& instruction : program.instructions) {
      for (const Op& op : program.work(instruction).ops) executed += op.flops.value();
    }
    executed *= plan.layout.gpus() / plan.layout.pp;

    const Model& model = plan.model;
    const auto counted = [&](const Model& each) {
      return training_flops_per_token(each, plan.training.sequence, Causality::kCausal).value();
    };
    Model longer = model;
    longer.layers += model.mtp_depth;
    const double d = model.hidden;
    const double per_token = counted(longer) +
                             6.0 * model.mtp_depth * (2 * d * d + d * model.vocab) +
                             longer.layers * 1.0 * plan.training.sequence * model.attention.heads *
                                 model.attention.qk_dim() +
                             longer.moe_layers() * 6.0 * d * model.moe.experts;
    CAPTURE(model.name, shape.schedule, shape.microbatches, describe(plan.layout));
    CHECK(executed == Approx(per_token * plan.training.tokens_per_step()).epsilon(1e-9));
  }
}

// Selective: MLA's up-projections again, 2 (q_rank h d_qk + kv_rank h (d_nope + d_v)) a token and
// layer. Full: the whole forward of a layer again, the projection of MTP and the heads left out.
TEST_CASE("recomputation adds its FLOPs and no others") {
  const auto executed = [](PlanShape shape, Recompute recompute, Pass pass) {
    shape.layout.recompute = recompute;
    const Program program = lower(plan_of(shape));
    double flops = 0;
    for (const Instruction& instruction : program.instructions) {
      const Work& work = program.work(instruction);
      const bool layer =
          work.component == Component::kAttention || work.component == Component::kMlp;
      if (layer && work.pass == pass) {
        for (const Op& op : work.ops) flops += op.flops.value();
      }
    }
    return flops * shape.layout.gpus() / shape.layout.pp;
  };
  for (const PlanShape& shape : plan_shapes()) {
    const Attention& a = shape.model.attention;
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(shape.layout));
    const double input = executed(shape, Recompute::kNone, Pass::kI);
    const double tokens = plan_of(shape).training.tokens_per_step();
    const double up =
        a.kind == AttentionKind::kMla
            ? 2.0 * a.heads *
                  (a.q_lora_rank * a.qk_dim() + a.kv_lora_rank * (a.qk_nope_dim + a.v_dim))
            : 0;
    const double selective = executed(shape, Recompute::kSelective, Pass::kI) - input;
    CHECK(selective ==
          Approx(up * tokens * (shape.model.layers + shape.model.mtp_depth)).margin(1));
    const double forward = executed(shape, Recompute::kNone, Pass::kF);
    CHECK(executed(shape, Recompute::kExperts, Pass::kI) == Approx(input + selective));
    CHECK(executed(shape, Recompute::kFull, Pass::kI) == Approx(input));
    CHECK(executed(shape, Recompute::kFull, Pass::kF) == Approx(2 * forward));
  }
}

// Keys and values of tokens / cp are gathered from cp - 1 others. Four context-parallel GPUs two
// apart (tp = 2) share a node of eight; of eight only four do, and every
// fourth hop of the ring goes through a NIC: 7/8 x 3/4 on NVLink, 7/8 x 1/4 on the NIC.
TEST_CASE("context-parallel groups larger than a node use the NICs as well") {
  const auto gathers = [](int cp) {
    std::vector<Wire> wires;
    for (const Work& work :
         lower(plan_of({small_dense(), "1f1b", 2, sizes(1, 1, 1, 2, cp)})).works) {
      if (work.component == Component::kContextParallel) wires.push_back(work.wire);
    }
    return wires;
  };
  // k and v of one of two kv heads, d = 64 each, BF16.
  const double sequence = 1024 * 2 * 64 * 2;
  REQUIRE(gathers(4).size() == 2);
  for (const Wire& wire : gathers(4)) {
    CHECK(wire.nic.value() == 0);
    CHECK(wire.nvlink.value() == Approx(sequence * 3 / 4));
  }
  for (const Wire& wire : gathers(8)) {
    CHECK(wire.nvlink.value() == Approx(sequence * 7 / 8 * 3 / 4));
    CHECK(wire.nic.value() == Approx(sequence * 7 / 8 / 4));
    CHECK(wire.logical.value() == Approx(sequence * 7 / 8));
  }
}

// DeepSeek-V3 at EP64 on 8 nodes: 120.0 MB dispatched in FP8 (3.965 copies of 7168 x 1.03125 bytes
// of 4096 tokens) and 232.7 MB combined in BF16; 7/8 of it leaves the node; NVLink carries 7.49
// copies, 7/8 of which are for another GPU.
TEST_CASE("the exchanges of DeepSeek-V3 carry the published bytes") {
  Plan plan = plan_of({read_model("models/deepseek-v3.toml"), "1f1b", 1, sizes(1, 64, 64)});
  plan.training.sequence = 4096;
  int exchanges = 0;
  for (const Work& work : lower(plan).works) {
    const Pattern pattern = work.wire.pattern;
    const bool dispatch = pattern == Pattern::kDispatch || pattern == Pattern::kDispatchCached;
    if (!dispatch && pattern != Pattern::kCombine && pattern != Pattern::kCombineGradient) continue;
    ++exchanges;
    CAPTURE(work.name);
    const double copy = 4096 * 7168 * (dispatch ? 1.03125 : 2);
    CHECK(work.wire.group == 64);
    CHECK(work.wire.logical.value() / 1e6 == Approx(dispatch ? 120.0 : 232.7).epsilon(0.003));
    CHECK(work.wire.nic.value() / work.wire.logical.value() == Approx(7.0 / 8));
    CHECK(work.wire.nvlink.value() == Approx(copy * 7.49 * 7 / 8).epsilon(0.003));
    CHECK(work.name == (pattern == Pattern::kDispatch         ? "dispatch(F)"
                        : pattern == Pattern::kCombine        ? "combine(F)"
                        : pattern == Pattern::kDispatchCached ? "combine(B)"
                                                              : "dispatch(B)"));
  }
  CHECK(exchanges == 8);  // of a MoE layer and of MTP
}

TEST_CASE("what is not modelled is refused in words") {
  Plan plan = plan_of(plan_shapes()[4]);
  for (Cell& cell : plan.schedule.ranks[0]) {
    if (cell.kind == CellKind::kFB) cell.kind = CellKind::kFI;
  }
  CHECK_THROWS_WITH(lower(plan), Catch::Contains("F&I"));
}

// Four tensor-parallel GPUs in nodes of two: half of a ring's hops go through NICs.
TEST_CASE("a tensor-parallel group larger than a node uses the NICs as well") {
  Plan plan = plan_of({small_dense(), "1f1b", 2, sizes(1, 1, 1, 4)});
  const auto wires = [&] {
    std::vector<Wire> found;
    for (const Work& work : lower(plan).works) {
      if (work.component == Component::kTensorParallel) found.push_back(work.wire);
    }
    return found;
  };
  const std::vector<Wire> whole = wires();
  REQUIRE(!whole.empty());
  plan.cluster.gpus_per_node = 2;
  plan.cluster.nodes *= 4;
  const std::vector<Wire> cut = wires();
  REQUIRE(cut.size() == whole.size());
  for (std::size_t at = 0; at < cut.size(); ++at) {
    CHECK(whole[at].nic.value() == 0);
    CHECK(whole[at].in_node == 4);
    CHECK(cut[at].in_node == 2);
    CHECK(cut[at].nic.value() == Approx(whole[at].nvlink.value() / 2));
    CHECK(cut[at].nvlink.value() == Approx(whole[at].nvlink.value() / 2));
  }
}

}  // namespace
}  // namespace orrery
