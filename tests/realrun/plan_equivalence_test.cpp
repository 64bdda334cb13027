// Whatever the layout and the schedule, training computes the same: all state in double, FP8 off,
// every plan gives the losses and gradients of a model written down serially.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>

#include "core/error.hpp"
#include "sim/analytic.hpp"
#include "sim/host_engine.hpp"
#include "tests/realrun/serial_model.hpp"
#include "tests/realrun/tiny_runs.hpp"

namespace orrery {
namespace {

struct Case {
  const char* schedule;
  int pp, dp, ep, tp;
  int microbatches;  // of each replica
  Recompute recompute = Recompute::kSelective;
  int zero = 1;
  int micro_batch = 1;
  int mtp = 1;
  int q_rank = 8;
  int vpp = 1;
  bool apart = false;  // embedding and head on stages of their own
};

constexpr auto kNone = Recompute::kNone;
constexpr auto kSelective = Recompute::kSelective;
constexpr auto kFull = Recompute::kFull;

constexpr Case kCases[] = {
    {"1f1b", 1, 1, 1, 1, 4, kNone},
    {"1f1b", 1, 1, 1, 1, 4, kFull},
    {"1f1b", 1, 1, 1, 1, 4, kSelective, 0},
    {"1f1b", 1, 1, 1, 1, 2, kSelective, 1, 2},
    {"1f1b", 1, 1, 1, 1, 4, kSelective, 1, 1, 0},
    {"1f1b", 1, 1, 1, 2, 4},
    {"1f1b", 1, 1, 1, 2, 4, kNone},
    {"1f1b", 1, 1, 1, 2, 4, kFull},
    {"1f1b", 1, 1, 1, 2, 4, kSelective, 1, 1, 1, 0},
    {"1f1b", 1, 2, 1, 1, 2},
    {"1f1b", 1, 2, 1, 1, 2, kSelective, 0},
    {"1f1b", 1, 2, 2, 1, 2},
    {"1f1b", 1, 4, 4, 1, 2},
    {"1f1b", 1, 4, 2, 1, 2},
    {"1f1b", 1, 2, 2, 2, 2},
    // Expert groups across tensor-parallel GPUs.
    {"1f1b", 1, 1, 2, 2, 4},
    {"1f1b", 1, 2, 4, 2, 2},
    {"1f1b", 1, 2, 4, 2, 2, kFull, 0},
    {"1f1b", 2, 1, 2, 2, 4, kNone},
    {"1f1b", 2, 1, 1, 1, 4},
    {"1f1b", 4, 1, 1, 1, 4},
    {"1f1b", 2, 2, 2, 1, 4, kFull},
    {"1f1b", 4, 2, 2, 2, 4},
    {"1f1b", 4, 4, 4, 1, 4, kNone},
    {"dualpipe", 2, 1, 1, 1, 4},
    {"dualpipe", 4, 1, 1, 1, 8},
    {"dualpipe", 2, 2, 2, 2, 4},
    {"dualpipe", 4, 2, 2, 2, 8},
    {"dualpipe", 4, 4, 4, 1, 8, kFull},
    {"dualpipe", 4, 2, 2, 1, 8, kNone, 0},
    {"dualpipe", 2, 4, 2, 1, 4, kSelective, 1, 2},
    {"dualpipe", 2, 2, 2, 1, 4, kSelective, 1, 1, 0, 0},
    {"dualpipe", 2, 2, 4, 2, 4},
    {"gpipe", 2, 2, 2, 1, 4},
    {"1f1b-eager", 4, 1, 1, 1, 8},
    {"zb-h1", 4, 2, 2, 1, 8},
    {"zb-h2", 4, 1, 1, 2, 8, kFull},
    {"zb-auto", 2, 2, 2, 1, 6, kNone},
    {"chimera", 4, 2, 2, 1, 8},
    {"interleaved", 2, 2, 2, 1, 4, kSelective, 1, 1, 1, 8, 2},
    {"interleaved-overlap", 2, 2, 2, 1, 6, kFull, 1, 1, 1, 8, 2},
    {"zb-v", 2, 2, 2, 1, 4, kSelective, 1, 1, 1, 8, 2},
    {"v-half", 2, 1, 1, 2, 5, kNone, 1, 1, 1, 8, 2},
    {"v-min", 2, 2, 1, 1, 4, kSelective, 0, 1, 1, 8, 2},
    {"dualpipev", 2, 2, 2, 1, 6, kSelective, 1, 1, 1, 8, 2},
    {"1f1b", 4, 2, 2, 2, 4, kSelective, 1, 1, 1, 8, 1, true},
    {"zb-h1", 4, 2, 2, 1, 8, kNone, 1, 1, 1, 8, 1, true},
    {"dualpipe", 4, 2, 2, 1, 8, kSelective, 1, 1, 1, 8, 1, true},
    {"interleaved", 2, 2, 2, 1, 4, kFull, 1, 1, 1, 8, 2, true},
    {"zb-v", 2, 2, 2, 2, 4, kSelective, 1, 1, 1, 8, 2, true},
};

Plan plan_of_case(const Case& each) {
  RunShape shape;
  shape.schedule = each.schedule;
  shape.layout = sizes(each.pp, each.dp, each.ep, each.tp);
  shape.layout.vpp = each.vpp;
  shape.layout.precision = Precision::kBf16;
  shape.layout.recompute = each.recompute;
  shape.layout.zero_stage = each.zero;
  shape.layout.micro_batch = each.micro_batch;
  shape.microbatches = each.microbatches;
  shape.apart = each.apart;
  shape.model = tiny_model(3, each.mtp, each.q_rank);
  return tiny_plan(shape);
}

// AdamW divides by the root of the second moment, which amplifies the rounding of gradients near
// zero: a small step keeps what that does to the next gradients below 1e-12.
Recipe gentle_recipe() {
  Recipe recipe = tiny_recipe();
  recipe.learning_rate = 1e-3;
  return recipe;
}

struct SerialStep {
  SerialModel::Losses losses;
  std::map<std::string, std::vector<double>> gradients;
};

// Three steps of the serial model on the batches of the plan; the same for plans that differ in
// nothing but how they are carried out.
const std::vector<SerialStep>& serial_steps(const Plan& plan) {
  static std::map<std::array<int, 3>, std::vector<SerialStep>> known;
  const std::array<int, 3> key = {plan.training.global_batch, plan.model.mtp_depth,
                                  plan.model.attention.q_lora_rank};
  std::vector<SerialStep>& steps = known[key];
  if (!steps.empty()) return steps;
  SerialModel serial(plan.model, plan.training.sequence, gentle_recipe());
  for (int step = 0; step < 3; ++step) {
    SerialModel::Sequences sequences(static_cast<std::size_t>(plan.training.global_batch));
    const TokenSource tokens = tiny_tokens(plan.model, step);
    for (std::size_t index = 0; index < sequences.size(); ++index) {
      sequences[index].resize(
          static_cast<std::size_t>(plan.training.sequence + 1 + plan.model.mtp_depth));
      tokens(static_cast<std::int64_t>(index), sequences[index]);
    }
    const SerialModel::Losses losses = serial.step(sequences);
    steps.push_back({losses, serial.gradients()});
  }
  return steps;
}

TEST_CASE("every plan gives the losses and gradients of the serial model over three steps") {
  const Case each = GENERATE(from_range(std::begin(kCases), std::end(kCases)));
  CAPTURE(each.schedule, each.pp, each.dp, each.ep, each.tp, each.microbatches,
          to_string(each.recompute), each.zero, each.micro_batch, each.mtp, each.q_rank);
  const Plan plan = plan_of_case(each);
  HostRunOptions options;
  options.patience = Seconds{10};
  TinyRun<double> run(plan, lower(plan), options, gentle_recipe());
  for (int step = 0; step < 3; ++step) {
    CAPTURE(step);
    const auto& [expected, expected_gradients] = serial_steps(plan)[static_cast<std::size_t>(step)];
    const StepResult result = run.step(step);
    CHECK(std::abs(result.loss - expected.loss) <= 1e-12 * expected.loss);
    CHECK(std::abs(result.mtp_loss - expected.mtp_loss) <= 1e-12 * expected.loss);
    CHECK(std::abs(result.balance_loss - expected.balance_loss) <= 1e-12);
    CHECK(std::abs(result.gradient_norm - expected.gradient_norm) <=
          1e-12 * expected.gradient_norm);
    const auto gradients = run.gradients();
    CHECK(gradients.size() == expected_gradients.size());
    for (const auto& [name, gradient] : expected_gradients) {
      CAPTURE(name);
      REQUIRE(gradients.contains(name));
      CHECK(relative_difference(gradients.at(name), gradient) <= 1e-12);
    }
  }
}

// Every instruction takes as long as every other.
class EvenTimes : public InstructionTimes {
 public:
  HostTime at(const Instruction&) const override { return {microseconds(10), {}}; }
};

class EvenCosts : public CostSource {
 public:
  ComputeCost compute(const Work&, int) const override { return {microseconds(10), {}}; }
  TransferCost transfer(const Work&, bool, int) const override {
    return {microseconds(10), gigabytes_per_second(1), gigabytes_per_second(1)};
  }
  AssumedFigures assumed(const Program&) const override { return {}; }
};

using Order = std::vector<std::array<std::vector<InstructionId>, kStreams>>;

// What each GPU does on each stream, in order of time.
Order by_start(const Program& program, const Timeline& timeline) {
  Order order(program.streams.size());
  for (const Instruction& instruction : program.instructions)
    order[instruction.rank.index()][static_cast<std::size_t>(instruction.stream)].push_back(
        instruction.id);
  for (auto& streams : order) {
    for (auto& list : streams) {
      std::sort(list.begin(), list.end(), [&](InstructionId a, InstructionId b) {
        const Span& first = timeline.at(a);
        const Span& second = timeline.at(b);
        return std::pair{first.start, first.end} < std::pair{second.start, second.end};
      });
    }
  }
  return order;
}

TEST_CASE("a run and its simulation carry out the same instructions in the same order") {
  const Case each = GENERATE(from_range(std::begin(kCases), std::end(kCases)));
  CAPTURE(each.schedule, each.pp, each.dp, each.ep, each.tp);
  const Plan plan = plan_of_case(each);
  const Program program = lower(plan);
  TinyRun<double> run(plan, program);
  const StepResult result = run.step(0);
  const World& world = run.run->world();
  HostMachine machine;
  machine.cores = 2;
  machine.slowdown = {1, 1};
  const Order simulated = by_start(world.program, run_host(world.program, machine, EvenTimes()));
  const Order analytic = by_start(program, run_analytic(program, EvenCosts(), plan.layout.gpus()));
  REQUIRE(result.carried_out.size() == simulated.size());
  for (std::size_t gpu = 0; gpu < simulated.size(); ++gpu) {
    const std::size_t rank = gpu / static_cast<std::size_t>(world.gpus_per_rank);
    for (std::size_t stream = 0; stream < kStreams; ++stream) {
      CAPTURE(gpu, stream);
      const std::vector<InstructionId>& carried_out = result.carried_out[gpu][stream];
      CHECK(carried_out == simulated[gpu][stream]);
      // Each GPU does what its pipeline rank does in a simulation of folded ranks.
      std::vector<InstructionId> origins;
      for (InstructionId id : carried_out) origins.push_back(world.origin[id.index()]);
      CHECK(origins == analytic[rank][stream]);
      CHECK(origins == program.streams[rank][stream]);
    }
  }
  CHECK(by_start(world.program, result.timeline) == simulated);
}

}  // namespace
}  // namespace orrery
