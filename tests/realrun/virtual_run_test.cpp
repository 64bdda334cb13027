#include "realrun/virtual_run.hpp"

#include <algorithm>
#include <catch2/catch.hpp>

#include "core/model_reader.hpp"
#include "realrun/calibrated_device.hpp"
#include "tests/realrun/replay_examples.hpp"
#include "tests/realrun/tiny_runs.hpp"

namespace orrery {
namespace {

CalibratedDevice device_of(double slower = 1) {
  return {"made up",
          [slower](const Op& op, int lent_sms) { return slower * made_up_time(op, lent_sms); }};
}

struct VirtualCase {
  explicit VirtualCase(const char* schedule, int pp = 2, int dp = 2, int tp = 1,
                       Precision precision = Precision::kBf16) {
    Layout layout;
    layout.pp = pp;
    layout.dp = dp;
    layout.ep = dp;
    layout.tp = tp;
    layout.precision = precision;
    plan = tiny_plan({schedule, layout, 4, tiny_model(3, 0), 8});
    program = lower(plan);
    predicted = run_analytic(program, costs, plan.layout.gpus());
  }

  VirtualRun run(VirtualDevice& device, int steps = 1) const {
    return virtual_run(
        {plan, program, predicted, costs, "made up", tiny_recipe(), steps}, device,
        [this](int step, std::int64_t index, std::span<std::int32_t> tokens) {
          tiny_tokens(plan.model, step)(index, tokens);
        },
        [](int, const Ladder&) {});
  }

  MadeUpCosts costs;
  Plan plan;
  Program program;
  Timeline predicted;
};

const MeasuredOp& op_of(const KernelRecord& kernels, const std::string& work,
                        const std::string& name) {
  const auto found =
      std::find_if(kernels.ops.begin(), kernels.ops.end(),
                   [&](const MeasuredOp& op) { return op.work == work && op.op == name; });
  REQUIRE(found != kernels.ops.end());
  return *found;
}

TEST_CASE("where ops take what they were predicted to, so does the step") {
  const VirtualCase each =
      GENERATE(VirtualCase("1f1b"), VirtualCase("dualpipe"), VirtualCase("zb-h1", 2, 1),
               VirtualCase("1f1b", 1, 2, 2), VirtualCase("dualpipe", 2, 2, 1, Precision::kFp8));
  CAPTURE(each.plan.schedule.family, describe(each.plan.layout));
  CalibratedDevice device = device_of();
  const VirtualRun run = each.run(device);
  CHECK(run.timeline.step.value() == Approx(each.predicted.step.value()).epsilon(1e-9));
  for (const Instruction& instruction : each.program.instructions) {
    CAPTURE(each.program.work(instruction).name, instruction.rank.value);
    const Span &found = run.timeline.at(instruction.id),
               &expected = each.predicted.at(instruction.id);
    CHECK(found.start.value() == Approx(expected.start.value()).epsilon(1e-9).margin(1e-12));
    CHECK(found.end.value() == Approx(expected.end.value()).epsilon(1e-9).margin(1e-12));
  }
  for (const MeasuredOp& op : run.kernels.ops)
    CHECK(op.measured.value() == Approx(op.predicted.value()).epsilon(1e-9));
}

TEST_CASE("nothing starts before what it waits for, however long ops take") {
  const VirtualCase each("dualpipe");
  CalibratedDevice device("uneven", [](const Op& op, int) {
    return microseconds(static_cast<double>(1 + std::hash<std::string>()(op.name) % 97));
  });
  const VirtualRun run = each.run(device);
  for (const auto& streams : each.program.streams) {
    for (const auto& list : streams) {
      for (std::size_t at = 0; at < list.size(); ++at) {
        const Instruction& instruction = each.program.instructions[list[at].index()];
        const Seconds start = run.timeline.at(instruction.id).start;
        if (at > 0) CHECK(start >= run.timeline.at(list[at - 1]).end);
        for (InstructionId before : each.program.deps_of(instruction))
          CHECK(start >= run.timeline.at(before).end);
        if (instruction.partner.valid()) CHECK(start == run.timeline.at(instruction.partner).start);
        CHECK(run.timeline.at(instruction.id).end <= run.timeline.step);
      }
    }
  }
}

TEST_CASE("a device that takes twice as long makes computation twice as long and no transfer") {
  const VirtualCase each("1f1b");
  CalibratedDevice device = device_of(2);
  const VirtualRun run = each.run(device);
  CHECK(run.timeline.step > each.predicted.step);
  CHECK(run.timeline.step < 2 * each.predicted.step);
  for (const Instruction& instruction : each.program.instructions) {
    const double times = instruction.stream == Stream::kCompute ? 2 : 1;
    CHECK(run.timeline.at(instruction.id).length().value() ==
          Approx(times * each.predicted.at(instruction.id).length().value()).margin(1e-12));
  }
  CHECK(run.kernels.device == "made up");
  CHECK(run.kernels.simulated);
  CHECK(run.kernels.calibration == "made up");
  // Of three layers with experts, four micro-batches, on both replicas.
  const MeasuredOp& op = op_of(run.kernels, "attn(F)", "attention forward");
  CHECK(op.launches == 4 * 4 * 2);
  CHECK(op.measured.value() == Approx(2 * op.predicted.value()));
  CHECK(op_of(run.kernels, "optimizer", "AdamW update").launches == 4);
  CHECK(op_of(run.kernels, "gradient norm", "gradient norm").launches == 4);
}

TEST_CASE("a virtual run is the same every time, and trains") {
  const VirtualCase each("dualpipe");
  CalibratedDevice device = device_of();
  const VirtualRun one = each.run(device, 3), other = each.run(device, 3);
  CHECK(one.timeline.spans == other.timeline.spans);
  CHECK(one.kernels == other.kernels);
  CHECK(one.ladder.losses == other.ladder.losses);
  CHECK(one.ladder.losses.size() == 3);
  CHECK(one.ladder.losses[0] != one.ladder.losses[1]);
  CHECK(one.ladder.worst_gradient() == other.ladder.worst_gradient());
}

TEST_CASE("ops of co-scheduled pairs run beside their cell's exchanges, others alone") {
  const VirtualCase each("dualpipe");
  const World world = expand(each.program, each.plan.layout);
  const auto beside = exchanges_beside(world, each.predicted);
  int paired = 0;
  for (const Instruction& instruction : world.program.instructions) {
    const ExchangeBeside& own = beside[instruction.id.index()];
    if (instruction.stream != Stream::kCompute || instruction.lent_sms == 0) {
      CHECK(own.ctas == 0);
      continue;
    }
    ++paired;
    CHECK(own.ctas == instruction.lent_sms);
    // No faster than the port, no slower than what the fixed time leaves of it.
    CHECK(own.rate > BytesPerSecond{});
    CHECK(own.rate <= gigabytes_per_second(160));
  }
  CHECK(paired > 0);
}

}  // namespace
}  // namespace orrery
