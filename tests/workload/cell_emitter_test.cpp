// What RankEmitter writes for the cells of a rank, seen through lower().
#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <tuple>

#include "core/stage_map.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"
#include "workload/unit_works.hpp"

namespace orrery {
namespace {

bool is_send(const Instruction& instruction) {
  return instruction.stream == Stream::kSendNext || instruction.stream == Stream::kSendPrev;
}

bool is_recv(const Instruction& instruction) {
  return instruction.stream == Stream::kRecvNext || instruction.stream == Stream::kRecvPrev;
}

const std::vector<InstructionId>& list(const Program& program, Rank rank, Stream stream) {
  return program.streams[rank.index()][static_cast<std::size_t>(stream)];
}

bool depends_on(const Program& program, InstructionId after, InstructionId before) {
  const auto deps = program.deps_of(program.instructions[after.index()]);
  return std::find(deps.begin(), deps.end(), before) != deps.end();
}

TEST_CASE("every send has a recv of the same work and micro-batch on the neighbouring rank") {
  for (const PlanShape& shape : plan_shapes()) {
    const Plan plan = plan_of(shape);
    const Program program = lower(plan);
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(plan.layout));
    int sends = 0;
    int recvs = 0;
    for (const Instruction& instruction : program.instructions) {
      recvs += is_recv(instruction);
      if (!is_send(instruction)) {
        CHECK(instruction.partner.valid() == is_recv(instruction));
        continue;
      }
      ++sends;
      REQUIRE(instruction.partner.valid());
      const Instruction& recv = program.instructions[instruction.partner.index()];
      CHECK(recv.partner == instruction.id);
      CHECK(recv.work == instruction.work);
      CHECK(recv.microbatch == instruction.microbatch);
      CHECK(recv.direction == instruction.direction);
      CHECK(std::abs(recv.stage.value - instruction.stage.value) == 1);
      const bool next = instruction.stream == Stream::kSendNext;
      CHECK(recv.rank.value == instruction.rank.value + (next ? 1 : -1));
      CHECK(recv.stream == (next ? Stream::kRecvPrev : Stream::kRecvNext));
      const Work& work = program.work(instruction);
      CHECK(work.wire.pattern == Pattern::kSend);
      // An activation or its gradient in BF16.
      const double bytes = 1024.0 / plan.layout.cp / plan.layout.tp * plan.model.hidden * 2;
      CHECK((work.wire.nic + work.wire.nvlink).value() == bytes);
      const int gpus_per_rank = plan.layout.gpus() / plan.layout.pp;
      const bool same_node =
          instruction.rank.value * gpus_per_rank / 8 == recv.rank.value * gpus_per_rank / 8;
      CHECK((work.wire.nic.value() == 0) == same_node);
    }
    // One activation and one gradient a micro-batch and boundary.
    CHECK(sends == 2 * shape.microbatches * (plan.layout.pp - 1));
    CHECK(recvs == sends);
  }
}

TEST_CASE("a rank receives from its neighbour in the order in which the neighbour sends") {
  for (const PlanShape& shape : plan_shapes()) {
    const Program program = lower(plan_of(shape));
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(shape.layout));
    for (int rank = 0; rank + 1 < program.pp; ++rank) {
      const auto partners = [&](Rank receiver, Stream stream) {
        std::vector<InstructionId> senders;
        for (InstructionId id : list(program, receiver, stream)) {
          senders.push_back(program.instructions[id.index()].partner);
        }
        return senders;
      };
      CAPTURE(rank);
      CHECK(partners(Rank(rank + 1), Stream::kRecvPrev) ==
            list(program, Rank(rank), Stream::kSendNext));
      CHECK(partners(Rank(rank), Stream::kRecvNext) ==
            list(program, Rank(rank + 1), Stream::kSendPrev));
    }
  }
}

// The works of a unit by name, counted: what one micro-batch must run of it.
std::map<std::string, int> expected_works(const Plan& plan, LayerKind kind) {
  std::vector<Work> works;
  const Shard shard = make_shard(plan.model, plan.layout, plan.training.sequence, RoutingSpread{});
  const UnitWorks unit = make_unit(works, shard, kind, 1);
  std::map<std::string, int> count;
  for (const Work& work : works) ++count[work.name];
  const auto again = [&](const Chain& chain) {
    for (WorkId id : chain) ++count[works[id.index()].name];
  };
  const bool experts = plan.layout.recompute == Recompute::kExperts && unit.exchanges();
  if (plan.layout.recompute == Recompute::kFull) again(unit.f_attention);
  if (plan.layout.recompute == Recompute::kFull || experts) {
    again(unit.f_dispatch);
    again(unit.f_mlp);
  }
  return count;
}

TEST_CASE("every micro-batch runs F, I and W of every layer exactly once") {
  for (const PlanShape& shape : plan_shapes()) {
    const Plan plan = plan_of(shape);
    const Program program = lower(plan);
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(plan.layout));
    using Key = std::tuple<int, int, int>;  // micro-batch, stage, layer
    std::map<Key, std::map<std::string, int>> found;
    for (const Instruction& instruction : program.instructions) {
      if (instruction.layer < 0) continue;
      ++found[{instruction.microbatch.value, instruction.stage.value, instruction.layer}]
             [program.work(instruction).name];
    }
    for (int stage = 0; stage < plan.layout.pp; ++stage) {
      const auto& entries = plan.layout.stage_map[static_cast<std::size_t>(stage)];
      for (int layer = 0; layer < static_cast<int>(entries.size()); ++layer) {
        const auto expected = expected_works(plan, entries[static_cast<std::size_t>(layer)]);
        for (int microbatch = 0; microbatch < shape.microbatches; ++microbatch) {
          CAPTURE(stage, layer, microbatch);
          CHECK(found[{microbatch, stage, layer}] == expected);
        }
      }
    }
  }
}

// A cell starts on either stream when the one before it has ended on both.
TEST_CASE("cells of a rank follow one another on both streams") {
  for (const PlanShape& shape : plan_shapes()) {
    const Program program = lower(plan_of(shape));
    CAPTURE(shape.model.name, shape.schedule, shape.microbatches, describe(shape.layout));
    for (int rank = 0; rank < program.pp; ++rank) {
      // last[stream][cell]: the last instruction of the stream in that cell.
      std::map<int, InstructionId> first[2], last[2];
      for (const Stream stream : {Stream::kCompute, Stream::kComm}) {
        int cell = 0;
        for (InstructionId id : list(program, Rank(rank), stream)) {
          const Instruction& instruction = program.instructions[id.index()];
          if (instruction.cell < 0) break;  // the optimizer step
          CHECK(instruction.cell >= cell);
          cell = instruction.cell;
          first[static_cast<int>(stream)].emplace(cell, id);
          last[static_cast<int>(stream)][cell] = id;
        }
      }
      for (const int stream : {0, 1}) {
        for (const auto& [cell, id] : first[stream]) {
          const auto& other = last[1 - stream];
          const auto above = other.lower_bound(cell);
          CAPTURE(rank, cell, stream);
          if (above != other.begin()) CHECK(depends_on(program, id, std::prev(above)->second));
        }
      }
    }
  }
}

// Ranks 1 and 2 host two stages of four MoE layers, so that a pair has four slots with a forward
// and a backward half in all.
Plan pair_plan() {
  Plan plan = plan_of({small_mla_moe(), "dualpipe", 16, sizes(4, 4, 4)});
  plan.model.layers = 17;
  Diagnostics diagnostics;
  plan.layout.stage_map = parse_stage_map("E,1d,4t | 4t | 4t | 4t,m,L", diagnostics);
  diagnostics.throw_if_errors();
  return plan;
}

struct PairSlots {
  std::vector<InstructionId> compute, comm;
};

std::vector<PairSlots> middle_pairs(const Plan& plan, const Program& program) {
  std::vector<PairSlots> pairs;
  const Rank rank(1);  // stages 1 and 2
  const auto& cells = plan.schedule.ranks[rank.index()];
  for (std::size_t cell = 0; cell < cells.size(); ++cell) {
    if (cells[cell].kind != CellKind::kFB) continue;
    const auto of_cell = [&](Stream stream) {
      std::vector<InstructionId> ids;
      for (InstructionId id : list(program, rank, stream)) {
        if (program.instructions[id.index()].cell == static_cast<int>(cell)) ids.push_back(id);
      }
      return ids;
    };
    pairs.push_back({of_cell(Stream::kCompute), of_cell(Stream::kComm)});
  }
  return pairs;
}

// Order of the public training profile (deepseek-ai/profile-data), per layer slot:
//   compute        attn(F) -> mlp(B) -> mlp(W) -> mlp(F) -> attn(B) -> attn(W)
//   communication  combine(B) -> dispatch(F) -> dispatch(B) -> combine(F)
TEST_CASE("a pair runs its components slot by slot in the order of the public profile") {
  const Plan plan = pair_plan();
  const Program program = lower(plan);
  const std::vector<std::string> compute = {"attn(F)", "mlp(I)",  "mlp(W)",
                                            "mlp(F)",  "attn(I)", "attn(W)"};
  const std::vector<std::string> comm = {"combine(B)", "dispatch(F)", "dispatch(B)", "combine(F)"};
  const std::vector<PairSlots> pairs = middle_pairs(plan, program);
  REQUIRE_FALSE(pairs.empty());
  for (const PairSlots& pair : pairs) {
    REQUIRE(pair.compute.size() == 4 * compute.size());
    REQUIRE(pair.comm.size() == 4 * comm.size());
    const auto check = [&](const std::vector<InstructionId>& ids,
                           const std::vector<std::string>& names) {
      for (std::size_t place = 0; place < ids.size(); ++place) {
        const Instruction& instruction = program.instructions[ids[place].index()];
        const Work& work = program.work(instruction);
        const int slot = static_cast<int>(place / names.size());
        CAPTURE(place, work.name);
        CHECK(work.name == names[place % names.size()]);
        // The backward half goes through its layers from the last to the first.
        CHECK(instruction.layer == (work.pass == Pass::kF ? slot : 3 - slot));
        CHECK(instruction.lent_sms == plan.layout.comm_sms);
      }
    };
    check(pair.compute, compute);
    check(pair.comm, comm);
  }
}

// Backward: attn(B) of the previous slot -> combine(B) -> mlp(B) -> dispatch(B) -> attn(B).
// Forward: combine(F) of the previous slot -> attn(F) -> dispatch(F) -> mlp(F) -> combine(F).
// Weight gradients wait for nothing but their stream.
TEST_CASE("the halves of a pair depend on themselves alone") {
  const Plan plan = pair_plan();
  const Program program = lower(plan);
  enum Compute { kAttnF, kMlpB, kMlpW, kMlpF, kAttnB, kAttnW };
  enum Comm { kCombineB, kDispatchF, kDispatchB, kCombineF };
  for (const PairSlots& pair : middle_pairs(plan, program)) {
    for (int slot = 0; slot < 4; ++slot) {
      CAPTURE(slot);
      const auto compute = [&](Compute which, int of_slot) {
        return pair.compute[static_cast<std::size_t>(of_slot * 6 + which)];
      };
      const auto comm = [&](Comm which, int of_slot) {
        return pair.comm[static_cast<std::size_t>(of_slot * 4 + which)];
      };
      // All dependencies of an instruction, the entry of the cell left out.
      const auto deps = [&](InstructionId id) {
        std::vector<InstructionId> inside;
        for (InstructionId dep : program.deps_of(program.instructions[id.index()])) {
          const Instruction& before = program.instructions[dep.index()];
          const bool same_cell = before.cell == program.instructions[id.index()].cell;
          if (same_cell && !is_recv(before)) inside.push_back(dep);
        }
        return inside;
      };
      using Ids = std::vector<InstructionId>;
      CHECK(deps(compute(kMlpB, slot)) == Ids{comm(kCombineB, slot)});
      CHECK(deps(comm(kDispatchB, slot)) == Ids{compute(kMlpB, slot)});
      CHECK(deps(compute(kAttnB, slot)) == Ids{comm(kDispatchB, slot)});
      CHECK(deps(comm(kDispatchF, slot)) == Ids{compute(kAttnF, slot)});
      CHECK(deps(compute(kMlpF, slot)) == Ids{comm(kDispatchF, slot)});
      CHECK(deps(comm(kCombineF, slot)) == Ids{compute(kMlpF, slot)});
      CHECK(deps(compute(kMlpW, slot)).empty());
      CHECK(deps(compute(kAttnW, slot)).empty());
      CHECK(deps(comm(kCombineB, slot)) == (slot == 0 ? Ids{} : Ids{compute(kAttnB, slot - 1)}));
      CHECK(deps(compute(kAttnF, slot)) == (slot == 0 ? Ids{} : Ids{comm(kCombineF, slot - 1)}));
    }
    // The first of each half waits for what was received.
    const auto receives = [&](InstructionId id) {
      int count = 0;
      for (InstructionId dep : program.deps_of(program.instructions[id.index()])) {
        count += is_recv(program.instructions[dep.index()]);
      }
      return count;
    };
    CHECK(receives(pair.compute[0]) == 1);
    CHECK(receives(pair.comm[0]) == 1);
  }
}

TEST_CASE("outputs are sent as soon as they are ready, not when the cell ends") {
  const Plan plan = pair_plan();
  const Program program = lower(plan);
  int checked = 0;
  for (const Instruction& instruction : program.instructions) {
    if (!is_send(instruction) || instruction.rank != Rank(1)) continue;
    const auto deps = program.deps_of(instruction);
    REQUIRE(deps.size() == 1);
    const Work& work = program.work(program.instructions[deps[0].index()]);
    CHECK((work.name == "combine(F)" || work.name == "attn(I)"));
    ++checked;
  }
  CHECK(checked == 2 * 16);
}

// Only where communication may run beside it does compute lend SMs: nowhere in F, I and W alone; in
// B beside W.
TEST_CASE("lone forwards and input gradients have all SMs") {
  const Plan plan = plan_of({small_mla_moe(), "dualpipe", 16, sizes(4, 4, 4)});
  const Program program = lower(plan);
  for (const Instruction& instruction : program.instructions) {
    if (instruction.cell < 0 || is_send(instruction) || is_recv(instruction)) continue;
    const CellKind kind =
        plan.schedule.ranks[instruction.rank.index()][static_cast<std::size_t>(instruction.cell)]
            .kind;
    const Work& work = program.work(instruction);
    CAPTURE(to_string(kind), work.name);
    if (kind == CellKind::kF || kind == CellKind::kI || kind == CellKind::kW)
      CHECK(instruction.lent_sms == 0);
    if (kind == CellKind::kB && work.is_compute() && work.pass != Pass::kW)
      CHECK(instruction.lent_sms == 0);
  }
}

TEST_CASE("weight gradients in line stand before the exchange that would hide them") {
  for (const WeightGradients order : {WeightGradients::kBeside, WeightGradients::kInline}) {
    PlanShape shape{small_mla_moe(), "1f1b", 4, sizes(2, 4, 2)};
    shape.layout.weights = order;
    const Program program = lower(plan_of(shape));
    const std::size_t count = program.instructions.size();
    int exchanges = 0;
    for (std::int64_t at = 0; at < static_cast<std::int64_t>(count); ++at) {
      const Instruction& own = program.instructions[InstructionId(at).index()];
      if (program.work(own).name != "dispatch(B)") continue;
      ++exchanges;
      CHECK(own.overlapped == (order == WeightGradients::kBeside));
      bool behind = false;
      for (std::int64_t other = 0; other < static_cast<std::int64_t>(count); ++other) {
        const Instruction& weight = program.instructions[InstructionId(other).index()];
        if (program.work(weight).name != "mlp(W)" || weight.layer != own.layer ||
            weight.microbatch != own.microbatch || weight.stage != own.stage ||
            weight.rank != own.rank)
          continue;
        behind = behind || depends_on(program, InstructionId(at), InstructionId(other));
      }
      CHECK(behind == (order == WeightGradients::kInline));
      if (exchanges > 20) break;
    }
    CHECK(exchanges > 0);
  }
}

}  // namespace
}  // namespace orrery
