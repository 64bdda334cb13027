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
    CHECK(executed(shape, Recompute::kFull, Pass::kI) == Approx(input));
    CHECK(executed(shape, Recompute::kFull, Pass::kF) == Approx(2 * forward));
  }
}

// ------------------------------------------------------------------------------------------------
// After the last cell

struct ClosingWire {
  double logical = 0, nic = 0, nvlink = 0;
};

std::map<std::pair<int, Component>, ClosingWire> closing_wires(const Program& program) {
  std::map<std::pair<int, Component>, ClosingWire> wires;
  for (const Instruction& instruction : program.instructions) {
    const Work& work = program.work(instruction);
    const bool parameters = work.parameters != ParameterSet::kNone;
    if (instruction.cell >= 0 || !parameters) continue;
    ClosingWire& wire = wires[{instruction.rank.value, work.component}];
    wire.logical += work.wire.logical.value();
    wire.nic += work.wire.nic.value();
    wire.nvlink += work.wire.nvlink.value();
  }
  return wires;
}

// The parameter groups that `rank` takes part in.
std::vector<ParameterGroup> groups_of(const Plan& plan, Rank rank) {
  std::vector<ParameterGroup> own;
  for (const ParameterGroup& group : parameter_groups(plan.model, plan.layout, plan.schedule)) {
    if (std::find(group.ranks.begin(), group.ranks.end(), rank) != group.ranks.end())
      own.push_back(group);
  }
  return own;
}

// ZeRO-1: FP32 gradients reduced and scattered, 4 (n-1)/n bytes a parameter of n replicas; BF16
// parameters gathered, half of that; AdamW on the shard: FP32 gradient read, FP32 master and two
// BF16 moments read and written, BF16 weight written, 4 + 8 + 8 + 2 = 22 bytes.
TEST_CASE("ZeRO-1 reduces gradients in FP32, updates a shard and gathers parameters in BF16") {
  for (const PlanShape& shape : plan_shapes()) {
    const Plan plan = plan_of(shape);
    const Program program = lower(plan);
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(plan.layout));
    auto wires = closing_wires(program);
    for (int rank = 0; rank < plan.layout.pp; ++rank) {
      CAPTURE(rank);
      double shared = 0;
      double shard = 0;
      for (const ParameterGroup& group : groups_of(plan, Rank(rank))) {
        shared += group.parameters * (group.replicas - 1) / group.replicas;
        shard += group.parameters / group.replicas;
      }
      const ClosingWire reduce = wires[{rank, Component::kGradientReduce}];
      const ClosingWire gather = wires[{rank, Component::kParameterGather}];
      CHECK(reduce.logical == Approx(4 * shared));
      CHECK(reduce.nic + reduce.nvlink == Approx(4 * shared));
      CHECK(gather.logical == Approx(2 * shared));
      CHECK(gather.nic == Approx(reduce.nic / 2));
      double updated = 0;
      double squared = 0;
      for (const Instruction& instruction : program.instructions) {
        const Work& work = program.work(instruction);
        if (instruction.rank == Rank(rank) && work.component == Component::kOptimizer) {
          (work.name == "optimizer" ? updated : squared) += work.ops.at(0).bytes.value();
        }
      }
      CHECK(updated == Approx(22 * shard));
      CHECK(squared == Approx(4 * shard));
    }
  }
}

TEST_CASE("ZeRO-0 reduces all gradients to all replicas and gathers nothing") {
  PlanShape shape = plan_shapes()[1];
  shape.layout.zero_stage = 0;
  const Plan plan = plan_of(shape);
  const Program program = lower(plan);
  for (const auto& [key, wire] : closing_wires(program)) {
    const auto& [rank, component] = key;
    CHECK(component == Component::kGradientReduce);
    double reduced = 0;
    for (const ParameterGroup& group : groups_of(plan, Rank(rank)))
      reduced += 8 * group.parameters * (group.replicas - 1) / group.replicas;
    CHECK(wire.logical == Approx(reduced));
  }
}

// One node of 8 GPUs, one stage. An expert group takes every tp-th GPU, so with tp = 2 two
// neighbours hold the same experts, and with ep = 2 two groups more: all four replicas share the
// node. With ep = 4 the two are the neighbours. With etp = 2 the neighbours hold different halves,
// and the second group has the replica.
TEST_CASE("replicas of experts that share a node reduce their gradients over NVLink alone") {
  struct Case {
    int ep, tp, etp, replicas;
  };
  const Case each =
      GENERATE(Case{2, 2, 1, 4}, Case{4, 2, 1, 2}, Case{2, 2, 2, 2}, Case{4, 1, 1, 2});
  CAPTURE(each.ep, each.tp, each.etp);
  const Plan plan =
      plan_of({small_mla_moe(), "1f1b", 2, sizes(1, 8 / each.tp, each.ep, each.tp, 1, each.etp)});
  CHECK(rank_parameters(plan.model, plan.layout, plan.schedule, Rank(0)).expert_replicas ==
        each.replicas);
  for (const auto& [key, wire] : closing_wires(lower(plan))) CHECK(wire.nic == 0);
}

// Two nodes: with tp = 8 each node is one replica of the dense parameters, but holds the experts of
// a group's GPU eight times (etp = 1). Experts: ep = 2 spreads over both nodes, all eight replicas
// of a GPU's experts are in its node.
TEST_CASE("tensor-parallel neighbours hold the same experts, wherever the next group is") {
  Model model = small_mla_moe();
  const Plan plan = plan_of({model, "1f1b", 2, sizes(1, 2, 2, 8)});
  const Program program = lower(plan);
  for (const Work& work : program.works) {
    if (work.name == "gradient reduction, experts") {
      CHECK(work.wire.group == 8);
      CHECK(work.wire.nic.value() == 0);
    }
    if (work.name == "gradient reduction, the rest") {
      CHECK(work.wire.group == 2);
      CHECK(work.wire.nvlink.value() == 0);
    }
  }
}

TEST_CASE("mirrored ranks reduce together in a bidirectional schedule, each rank alone otherwise") {
  for (const PlanShape& shape : plan_shapes()) {
    const Plan plan = plan_of(shape);
    const Program program = lower(plan);
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(plan.layout));
    const int pp = plan.layout.pp;
    int norms = 0;
    for (std::size_t number = 0; number < program.collectives.size(); ++number) {
      const auto& members = program.collectives[number];
      std::vector<int> ranks;
      for (InstructionId id : members) {
        const Instruction& member = program.instructions[id.index()];
        ranks.push_back(member.rank.value);
        CHECK(member.collective == static_cast<int>(number));
        CHECK(program.work(member) == program.work(program.instructions[members[0].index()]));
      }
      const std::string& name = program.work(program.instructions[members.front().index()]).name;
      CAPTURE(name, ranks);
      const ParameterSet set =
          program.work(program.instructions[members.front().index()]).parameters;
      if (set == ParameterSet::kEmbedding || set == ParameterSet::kHead) {
        // Those that need the matrix: first stage and MTP's, not mirrored.
        CHECK(plan.schedule.directions == 1);
        CHECK(ranks == std::vector<int>{0, pp - 1});
      } else if (name == "gradient norm all-reduce") {
        ++norms;
        CHECK(static_cast<int>(ranks.size()) == pp);
      } else if (plan.schedule.directions == 2) {
        REQUIRE(ranks.size() == 2);
        CHECK(ranks[0] + ranks[1] == pp - 1);
      } else {
        CHECK(ranks.size() == 1);
      }
    }
    CHECK(norms == 1);
  }
}

TEST_CASE(
    "gradients are reduced, then their norm, then the optimizer runs, then parameters are "
    "gathered") {
  const Program program = lower(plan_of(plan_shapes()[4]));
  for (int rank = 0; rank < program.pp; ++rank) {
    std::vector<std::string> order;
    for (InstructionId id : walk(program, WalkOrder::kLatestFirst)) {
      const Instruction& instruction = program.instructions[id.index()];
      if (instruction.cell < 0 && instruction.rank == Rank(rank))
        order.push_back(program.work(instruction).name);
    }
    // EP16 of 16 data-parallel GPUs: only the mirrored rank has the same experts.
    CHECK(order == std::vector<std::string>{
                       "gradient reduction, experts", "gradient reduction, the rest",
                       "expert count all-reduce", "gradient norm", "gradient norm all-reduce",
                       "optimizer", "parameter gather, experts", "parameter gather, the rest"});
  }
}

// Keys and values of tokens / cp are gathered from cp - 1 others. Four context-parallel GPUs two
// apart (tp = 2) share a node of eight; of eight only four do, and the node's half goes over the
// NICs: 3/4 on NVLink, 1/4 x 1/2 on the NIC.
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
    CHECK(wire.nvlink.value() == Approx(sequence * 3 / 4));
    CHECK(wire.nic.value() == Approx(sequence / 8));
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
  PlanShape shape = plan_shapes()[1];
  shape.layout.zero_stage = 2;
  CHECK_THROWS_AS(lower(plan_of(shape)), InputError);
  CHECK_THROWS_WITH(lower(plan_of(shape)), Catch::Contains("zero=1"));
  Plan plan = plan_of(plan_shapes()[4]);
  for (Cell& cell : plan.schedule.ranks[0]) {
    if (cell.kind == CellKind::kFB) cell.kind = CellKind::kFI;
  }
  CHECK_THROWS_WITH(lower(plan), Catch::Contains("F&I"));
}

}  // namespace
// tp = 2: what both tensor-parallel GPUs hold whole (norms, router, projections to the latents) is
// reduced over twice as many GPUs as what they share. Together the groups are all parameters.
TEST_CASE("parameters that tensor parallelism does not divide are reduced over its GPUs too") {
  for (const char* schedule : {"1f1b", "dualpipe"}) {
    const Plan plan = plan_of({small_mla_moe(), schedule, 8, sizes(2, 4, 2, 2)});
    CAPTURE(schedule);
    for (int rank = 0; rank < 2; ++rank) {
      const RankParameters own =
          rank_parameters(plan.model, plan.layout, plan.schedule, Rank(rank));
      double sum = 0;
      bool whole = false;
      for (const ParameterGroup& group : groups_of(plan, Rank(rank))) {
        sum += group.parameters;
        if (group.set != ParameterSet::kReplicated) continue;
        whole = true;
        CHECK(group.parameters == own.replicated);
        CHECK(group.replicas == own.dense_replicas * 2);
      }
      CHECK(whole);
      CHECK(sum == Approx(own.expert + own.dense));
    }
  }
}

}  // namespace orrery
