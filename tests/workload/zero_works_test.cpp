// ZeRO stages 2 and 3 in a Program: the bytes of their collectives and their places.
#include "workload/zero_works.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <tuple>

#include "core/error.hpp"
#include "sim/analytic.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"
#include "workload/parameters.hpp"

namespace orrery {
namespace {

PlanShape with_chunks(PlanShape shape, int vpp) {
  shape.layout.vpp = vpp;
  return shape;
}

// Schedules of one direction, with B and with I and W, pairs, and V placements.
std::vector<PlanShape> one_direction() {
  std::vector<PlanShape> shapes = {
      {small_dense(), "1f1b", 3, sizes(1, 8)},
      {small_dense(), "1f1b", 6, sizes(4, 4)},
      {small_dense(), "zb-h1", 6, sizes(4, 2)},
      {small_dense(), "1f1b", 6, sizes(2, 4, 1, 2)},
      {small_dense(), "1f1b", 4, sizes(2, 2, 1, 2, 2)},
      {small_gqa_moe(), "1f1b", 4, sizes(2, 8, 2)},
      {small_gqa_moe(), "zb-h1", 4, sizes(2, 4, 4, 2)},
      {small_mla_moe(), "1f1b", 3, sizes(1, 8, 4)},
      {small_mla_moe(), "1f1b", 8, sizes(4, 4, 2, 2, 1, 2)},
      with_chunks({small_mla_moe(), "zb-v", 8, sizes(4, 4, 2)}, 2),
      with_chunks({small_mla_moe(), "dualpipev", 8, sizes(4, 4, 2)}, 2),
      with_chunks({small_dense(), "dualpipev", 8, sizes(2, 4)}, 2),
  };
  PlanShape full = shapes[8], bf16 = shapes[10], experts = shapes[8];
  full.layout.recompute = Recompute::kFull;
  experts.layout.recompute = Recompute::kExperts;
  bf16.layout.precision = Precision::kBf16;
  shapes.insert(shapes.end(), {full, bf16, experts});
  return shapes;
}

Plan with_zero(const PlanShape& shape, int stage) {
  Plan plan = plan_of(shape);
  plan.layout.zero_stage = stage;
  return plan;
}

// Bytes of all pipeline ranks.
struct Moved {
  double reduced = 0, gathered_F = 0, gathered_I = 0;  // with the micro-batches
  double closing_reduced = 0, closing_gathered = 0;
};
Moved moved(const Program& program) {
  Moved out;
  for (const Instruction& instruction : program.instructions) {
    const Work& work = program.work(instruction);
    if (work.parameters == ParameterSet::kNone) continue;
    const double bytes = work.wire.logical.value();
    const bool reduces = work.component == Component::kGradientReduce;
    if (instruction.cell < 0) {
      (reduces ? out.closing_reduced : out.closing_gathered) += bytes;
    } else if (reduces) {
      CHECK(work.wire.pattern == Pattern::kReduceScatter);
      out.reduced += bytes;
    } else {
      CHECK(work.wire.pattern == Pattern::kAllGather);
      (work.pass == Pass::kF ? out.gathered_F : out.gathered_I) += bytes;
    }
  }
  return out;
}

// With psi parameters on n GPUs each, a micro-batch reduces 4 psi (n-1)/n bytes of FP32 gradients,
// and in stage 3 gathers 2 psi (n-1)/n bytes of BF16 weights twice, the embedding once. Experts are
// held by n / ep GPUs. In FP32 and BF16 elements these are the 2 psi and 3 psi of arXiv 1910.02054,
// section 7, where ZeRO-2 gathers weights once, after the update.
TEST_CASE("ZeRO-2 and 3 move the bytes of the closed form") {
  struct Case {
    Model model;
    const char* schedule;
    int microbatches;
    Layout layout;
  };
  for (const Case& each :
       {Case{small_dense(), "1f1b", 6, sizes(4, 4)}, Case{small_dense(), "zb-h1", 6, sizes(2, 8)},
        Case{small_gqa_moe(), "1f1b", 4, sizes(2, 8, 2)},
        Case{small_gqa_moe(), "1f1b", 4, sizes(1, 8, 8)}}) {
    const ParameterCounts counts = parameter_counts(each.model);
    const double experts =
        counts.expert * each.model.moe.experts * each.model.moe_layers() / each.layout.ep;
    const double rest = total_parameters(each.model) - experts * each.layout.ep;
    const double n = each.layout.dp, copies = n / each.layout.ep;
    const double held_apart = (copies - 1) / copies;
    const double psi = experts * held_apart + rest * (n - 1) / n;
    const double embedding = counts.embedding * (n - 1) / n;
    const double m = each.microbatches;
    const PlanShape shape{each.model, each.schedule, each.microbatches, each.layout};
    CAPTURE(each.model.name, each.schedule, describe(each.layout));

    const Moved one = moved(lower(with_zero(shape, 1)));
    CHECK(one.reduced + one.gathered_F + one.gathered_I == 0);
    CHECK(one.closing_reduced == Approx(4 * psi));
    CHECK(one.closing_gathered == Approx(2 * psi));

    const Moved two = moved(lower(with_zero(shape, 2)));
    CHECK(two.reduced == Approx(m * 4 * psi));
    CHECK(two.gathered_F + two.gathered_I == 0);
    CHECK(two.closing_reduced == 0);
    CHECK(two.closing_gathered == Approx(2 * psi));

    const Moved three = moved(lower(with_zero(shape, 3)));
    CHECK(three.reduced == Approx(m * 4 * psi));
    CHECK(three.gathered_F == Approx(m * 2 * psi));
    CHECK(three.gathered_I == Approx(m * 2 * (psi - embedding)));
    CHECK(three.closing_reduced + three.closing_gathered == 0);
  }
}

// Tied, or read by MTP on another rank: the two holders reduce it after the last micro-batch.
TEST_CASE("a matrix that pipeline ranks share stays as with ZeRO-1") {
  const PlanShape shape{small_mla_moe(), "1f1b", 8, sizes(4, 4, 2)};
  const double matrix = parameter_counts(shape.model).embedding;
  const Moved three = moved(lower(with_zero(shape, 3)));
  CHECK(three.closing_reduced == Approx(2 * 4 * matrix * 7 / 8));
  CHECK(three.closing_gathered == Approx(2 * 2 * matrix * 7 / 8));
  // On a V both ends are on one rank.
  const Moved v =
      moved(lower(with_zero(with_chunks({small_mla_moe(), "zb-v", 8, sizes(4, 4, 2)}, 2), 3)));
  CHECK(v.closing_reduced + v.closing_gathered == 0);
}

TEST_CASE("without replicas ZeRO-3 is the Program of ZeRO-1") {
  const PlanShape shape{small_mla_moe(), "1f1b", 4, sizes(8, 1)};
  const Program one = lower(with_zero(shape, 1));
  const Program three = lower(with_zero(shape, 3));
  CHECK(one.works == three.works);
  CHECK(one.deps == three.deps);
  CHECK(one.streams == three.streams);
  CHECK(one.collectives == three.collectives);
  CHECK(one.buffers == three.buffers);
  for (std::size_t id = 0; id < one.instructions.size(); ++id)
    CHECK(one.instructions[id].lent_sms == three.instructions[id].lent_sms);
}

// FP8 GEMMs read copies of what was gathered, made each time: a cast a unit and pass, none in BF16.
TEST_CASE("gathered weights are quantised for FP8 once a unit and pass") {
  for (const Precision precision : {Precision::kFp8, Precision::kBf16}) {
    PlanShape shape{small_dense(), "1f1b", 3, sizes(1, 8)};
    shape.layout.precision = precision;
    const Program program = lower(with_zero(shape, 3));
    double quantised = 0;
    for (const Instruction& instruction : program.instructions) {
      const Work& work = program.work(instruction);
      if (work.component == Component::kParameterGather && work.is_compute())
        quantised += work.ops.at(0).m * work.ops.at(0).n;
    }
    const ParameterCounts counts = parameter_counts(shape.model);
    const double layer = counts.attention + counts.dense_mlp;
    CHECK(quantised == Approx(precision == Precision::kFp8 ? 3 * 2 * 8 * layer : 0));
  }
}

struct UnitSpan {
  double first = 1e30, last = -1;  // of computation of a pass
  double collectives_first = 1e30, collectives_last = -1;
};
using UnitKey = std::tuple<int, int, int>;  // micro-batch, stage, layer

// With durations that tell instructions apart: [F, I, W][unit].
std::array<std::map<UnitKey, UnitSpan>, 3> spans_of(const Program& program, int seed) {
  const Timeline timeline = run_analytic(
      program,
      [&](const Instruction& instruction) {
        return Seconds{1.0 + (instruction.work.value * 7 + seed * 13) % 11};
      },
      1);
  std::array<std::map<UnitKey, UnitSpan>, 3> spans;
  for (const Instruction& instruction : program.instructions) {
    if (instruction.cell < 0 || instruction.layer < 0) continue;
    const Work& work = program.work(instruction);
    UnitSpan& span = spans[static_cast<std::size_t>(work.pass)][{
        instruction.microbatch.value, instruction.stage.value, instruction.layer}];
    const Span& own = timeline.at(instruction.id);
    if (work.is_compute()) {
      span.first = std::min(span.first, own.start.value());
      span.last = std::max(span.last, own.end.value());
    } else if (work.parameters != ParameterSet::kNone) {
      span.collectives_first = std::min(span.collectives_first, own.start.value());
      span.collectives_last = std::max(span.collectives_last, own.end.value());
    }
  }
  return spans;
}

TEST_CASE("a unit starts when its weights are gathered, at most one unit ahead") {
  for (const PlanShape& shape : one_direction()) {
    const Plan plan = with_zero(shape, 3);
    const Program program = lower(plan);
    CAPTURE(shape.model.name, shape.schedule, describe(plan.layout));
    CHECK(walk(program, WalkOrder::kEarliestFirst).size() == program.instructions.size());
    CHECK(walk(program, WalkOrder::kLatestFirst).size() == program.instructions.size());
    int gathered = 0;
    for (int seed = 0; seed < 3; ++seed) {
      const auto spans = spans_of(program, seed);
      for (const bool forward : {true, false}) {
        const auto& units = spans[static_cast<std::size_t>(forward ? Pass::kF : Pass::kI)];
        for (const auto& [key, unit] : units) {
          if (unit.collectives_last < 0) continue;
          ++gathered;
          const auto [microbatch, stage, layer] = key;
          CAPTURE(microbatch, stage, layer, forward, seed);
          CHECK(unit.collectives_last <= unit.first);
          // Two units before in the order of the pass.
          const auto before = units.find({microbatch, stage, forward ? layer - 2 : layer + 2});
          // A layer that is computed again in its backward runs its forward's works twice.
          const bool again = recomputes_experts(plan.layout.recompute);
          if (before != units.end() && before->second.last >= 0 && !again)
            CHECK(before->second.last <= unit.collectives_first);
        }
      }
    }
    CHECK(gathered > 0);
  }
}

TEST_CASE("gradients are reduced behind their weight gradient, of two units whole at the most") {
  for (const PlanShape& shape : one_direction()) {
    for (const int stage : {2, 3}) {
      const Program program = lower(with_zero(shape, stage));
      CAPTURE(shape.model.name, shape.schedule, describe(shape.layout), stage);
      int reduced = 0;
      for (int seed = 0; seed < 3; ++seed) {
        const auto spans = spans_of(program, seed);
        const auto& units = spans[static_cast<std::size_t>(Pass::kW)];
        for (const auto& [key, unit] : units) {
          if (unit.collectives_last < 0) continue;
          ++reduced;
          const auto [microbatch, part, layer] = key;
          CAPTURE(microbatch, part, layer, seed);
          CHECK(unit.last <= unit.collectives_first);
          const auto behind = units.find({microbatch, part, layer - 2});
          if (behind != units.end() && behind->second.last >= 0)
            CHECK(unit.collectives_last <= behind->second.first);
        }
      }
      CHECK(reduced > 0);
    }
  }
}

TEST_CASE("every unit is gathered and reduced once a micro-batch") {
  for (const PlanShape& shape : one_direction()) {
    const Plan plan = with_zero(shape, 3);
    const Program program = lower(plan);
    CAPTURE(shape.model.name, shape.schedule, describe(plan.layout));
    std::map<std::tuple<int, int, int, WorkId>, int> count;
    for (const Instruction& instruction : program.instructions) {
      const Work& work = program.work(instruction);
      if (instruction.cell < 0 || work.parameters == ParameterSet::kNone) continue;
      ++count[{instruction.microbatch.value, instruction.stage.value, instruction.layer,
               instruction.work}];
    }
    for (const auto& [key, times] : count) CHECK(times == 1);
    std::size_t expected = 0;
    const ZeroWorks zero = make_zero_works(plan, 0);
    for (const auto& entries : plan.layout.stage_map) {
      for (const LayerKind kind : entries) {
        const ZeroUnit& unit = zero.units.at(kind);
        expected += unit.gather_F.size() + unit.gather_I.size() + unit.reduce.size();
      }
    }
    CHECK(count.size() == expected * static_cast<std::size_t>(shape.microbatches));
  }
}

// Computation beside a collective lends it SMs; where nothing is gathered ahead, as for the last
// unit of a forward, it has them all.
TEST_CASE("computation lends SMs while a collective of ZeRO runs beside it") {
  const Program program = lower(with_zero({small_dense(), "1f1b", 3, sizes(1, 8)}, 3));
  int lent = 0, whole = 0;
  for (const Instruction& instruction : program.instructions) {
    const Work& work = program.work(instruction);
    if (instruction.cell < 0 || !work.is_compute() || work.pass != Pass::kF) continue;
    const bool last = instruction.layer == 9;  // E, eight layers, L
    CHECK(instruction.lent_sms == (last ? 0 : 20));
    (last ? whole : lent) += 1;
  }
  CHECK(lent > 0);
  CHECK(whole > 0);
}

TEST_CASE("ZeRO 2 and 3 are refused where each stage lies on two ranks") {
  for (const int stage : {2, 3}) {
    const Plan plan = with_zero({small_mla_moe(), "dualpipe", 4, sizes(2, 4, 2)}, stage);
    CHECK_THROWS_AS(lower(plan), InputError);
    CHECK_THROWS_WITH(lower(plan), Catch::Contains("each stage on one rank: dualpipe has each on"));
  }
}

}  // namespace
}  // namespace orrery
