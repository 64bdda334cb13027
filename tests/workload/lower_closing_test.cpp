// What a Program does after its last cell: gradients reduced, the optimizer, parameters gathered.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"
#include "workload/parameters.hpp"
#include "workload/placement.hpp"
#include "workload/stage_parameters.hpp"

namespace orrery {
namespace {

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
// and the second group has the replica. With ep = 8 and tp = 2 no GPU holds the same; with ep = 4
// and tp = 4 two of the four neighbours do.
TEST_CASE("replicas of experts that share a node reduce their gradients over NVLink alone") {
  struct Case {
    int ep, tp, etp, replicas;
  };
  const Case each = GENERATE(Case{2, 2, 1, 4}, Case{4, 2, 1, 2}, Case{2, 2, 2, 2}, Case{4, 1, 1, 2},
                             Case{8, 2, 1, 1}, Case{4, 4, 1, 2});
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

std::vector<int> ranks_with(const Plan& plan, std::initializer_list<LayerKind> kinds) {
  std::vector<int> ranks;
  for (int rank = 0; rank < plan.layout.pp; ++rank) {
    const auto& chunks = plan.schedule.chunks[static_cast<std::size_t>(rank)];
    const bool holds = std::any_of(chunks.begin(), chunks.end(), [&](const ChunkPlace& chunk) {
      const auto& stage = plan.layout.stage_map[chunk.stage.index()];
      return std::find_first_of(stage.begin(), stage.end(), kinds.begin(), kinds.end()) !=
             stage.end();
    });
    if (holds) ranks.push_back(rank);
  }
  return ranks;
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
        // Those that need the matrix: the first or last stage and MTP's, not mirrored.
        const LayerKind edge =
            set == ParameterSet::kEmbedding ? LayerKind::kEmbedding : LayerKind::kHead;
        CHECK(ranks == ranks_with(plan, {edge, LayerKind::kMtp}));
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

// On the CPUs the update reads and writes what it does on the GPU, 22 bytes a parameter, between a
// copy of the FP32 gradients to the host, 4, and one of the BF16 weights back, 2. A moving average
// on the GPU reads the weight and reads and writes itself in FP32, 2 + 4 + 4.
TEST_CASE("the optimizer's states can lie on the CPU, a moving average on the GPU") {
  Plan plan = plan_of(plan_shapes().front());
  const auto update_of = [&](Keep optimizer, Keep ema) {
    plan.layout.optimizer = optimizer;
    plan.layout.ema = ema;
    const Program program = lower(plan);
    for (const Work& work : program.works) {
      if (work.component == Component::kOptimizer && work.name == "optimizer") return work.ops;
    }
    return std::vector<Op>{};
  };
  double shard = 0;
  for (const ParameterGroup& group : groups_of(plan, Rank(0)))
    shard += group.parameters / group.replicas;
  const std::vector<Op> gpu = update_of(Keep::kGpu, Keep::kCpu);
  REQUIRE(gpu.size() == 1);
  CHECK(gpu[0].kernel == KernelClass::kOptimizer);
  CHECK(gpu[0].bytes.value() == Approx(22 * shard));
  const std::vector<Op> cpu = update_of(Keep::kCpu, Keep::kCpu);
  REQUIRE(cpu.size() == 3);
  CHECK(cpu[0].kernel == KernelClass::kHostCopy);
  CHECK(cpu[0].bytes.value() == Approx(4 * shard));
  CHECK(cpu[1].kernel == KernelClass::kHostUpdate);
  CHECK(cpu[1].bytes.value() == Approx(22 * shard));
  CHECK(cpu[2].kernel == KernelClass::kHostCopy);
  CHECK(cpu[2].bytes.value() == Approx(2 * shard));
  const std::vector<Op> averaged = update_of(Keep::kGpu, Keep::kGpu);
  REQUIRE(averaged.size() == 2);
  CHECK(averaged[1].bytes.value() == Approx(10 * shard));
}

}  // namespace
}  // namespace orrery
