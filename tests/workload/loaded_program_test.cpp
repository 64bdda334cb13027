#include "workload/loaded_program.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"
#include "workload/world.hpp"

namespace orrery {
namespace {

Plan example_plan() {
  Plan plan = plan_of({small_mla_moe(), "1f1b", 2, sizes(1, 2, 2)});
  plan.cluster.gpus_per_node = plan.layout.gpus();
  return plan;
}

// `rows` for every micro-batch, layer and rank.
Loads even_loads(const Plan& plan, double rows) {
  Loads loads;
  loads.model = plan.model.name;
  loads.ep = plan.layout.ep;
  loads.dp = plan.layout.dp;
  loads.microbatches = plan.schedule.microbatches;
  loads.ranks = plan.layout.gpus() / plan.layout.pp;
  for (int layer = plan.model.dense_layers; layer < plan.model.layers + plan.model.mtp_depth;
       ++layer)
    loads.layers.push_back(layer);
  loads.row_counts.assign(static_cast<std::size_t>(loads.microbatches) * loads.layers.size() *
                              static_cast<std::size_t>(loads.ranks),
                          rows);
  return loads;
}

double flops(const Program& program, const Instruction& instruction) {
  double sum = 0;
  for (const Op& op : program.work(instruction).ops) sum += op.flops.value();
  return sum;
}

bool has_routed_rows(const Work& work) {
  return std::any_of(work.ops.begin(), work.ops.end(), [](const Op& op) {
    return op.kernel == KernelClass::kGroupedGemm || op.kernel == KernelClass::kGroupedWgrad;
  });
}

// A micro-batch of 1024 tokens, top 4 of 16 experts, on 2 GPUs: 4096 rows a GPU when even.
TEST_CASE("even loads change no work, double ones double the experts' and nothing else") {
  const Plan plan = example_plan();
  const Program program = lower(plan);
  const Program even = with_loads(program, plan, even_loads(plan, 4096), 1);
  const Program twice = with_loads(program, plan, even_loads(plan, 8192), 1);
  REQUIRE(even.instructions.size() == program.instructions.size());
  int routed = 0;
  for (std::size_t id = 0; id < program.instructions.size(); ++id) {
    const Instruction& instruction = program.instructions[id];
    const Work& work = program.work(instruction);
    CHECK(even.work(even.instructions[id]) == work);
    CHECK(twice.work(twice.instructions[id]).name == work.name);
    const double before = flops(program, instruction);
    const double after = flops(twice, twice.instructions[id]);
    if (has_routed_rows(work)) {
      ++routed;
      CHECK(after > 1.2 * before);  // the shared expert's part stays
    } else {
      CHECK(after == before);
    }
  }
  CHECK(routed > 0);
}

TEST_CASE("a folded rank takes the most loaded GPU's rows, in a world every GPU its own") {
  const Plan plan = example_plan();
  const Program program = lower(plan);
  Loads loads = even_loads(plan, 1000);
  for (std::size_t at = 1; at < loads.row_counts.size(); at += 2) loads.row_counts[at] = 7000;
  const auto grouped_rows = [](const Work& work) {
    for (const Op& op : work.ops) {
      if (op.kernel == KernelClass::kGroupedGemm) return op.m;
    }
    return 0.0;
  };
  const Program folded = with_loads(program, plan, loads, 1);
  for (const Instruction& instruction : folded.instructions) {
    const double rows = grouped_rows(folded.work(instruction));
    if (rows > 0) CHECK(rows == Approx(7000));
  }
  const World world = expand(program, plan.layout);
  const Program each = with_loads(world.program, plan, loads, world.gpus_per_rank);
  for (const Instruction& instruction : each.instructions) {
    const double rows = grouped_rows(each.work(instruction));
    if (rows > 0) CHECK(rows == Approx(instruction.rank.value % 2 == 0 ? 1000 : 7000));
  }
}

TEST_CASE("loads of another model, layout or step are refused") {
  const Plan plan = example_plan();
  const Program program = lower(plan);
  const Loads good = even_loads(plan, 4096);
  const auto refused = [&](auto change) {
    Loads loads = good;
    change(loads);
    CHECK_THROWS_AS(with_loads(program, plan, loads, 1), InputError);
  };
  refused([](Loads& loads) { loads.model = "other"; });
  refused([](Loads& loads) { loads.ranks = 4; });
  refused([](Loads& loads) { loads.microbatches = 3; });
  refused([](Loads& loads) { loads.ep = 1; });
  refused([](Loads& loads) { loads.layers.back() = 99; });
}

TEST_CASE("layers are counted over all stages, MTP modules after the last") {
  const Plan plan = plan_of({small_mla_moe(), "1f1b", 8, sizes(2, 1)});
  const StageMap& map = plan.layout.stage_map;
  CHECK(model_layer(plan.layout, plan.model, Stage(0), 0) == -1);  // embedding
  CHECK(model_layer(plan.layout, plan.model, Stage(0), 1) == 0);
  const auto in_first = static_cast<int>(map[0].size()) - 1;
  CHECK(model_layer(plan.layout, plan.model, Stage(1), 0) == in_first);
  const auto last = static_cast<int>(map[1].size()) - 1;
  CHECK(model_layer(plan.layout, plan.model, Stage(1), last) == -1);                     // head
  CHECK(model_layer(plan.layout, plan.model, Stage(1), last - 1) == plan.model.layers);  // MTP
}

}  // namespace
}  // namespace orrery
