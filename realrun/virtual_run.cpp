#include "realrun/virtual_run.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.hpp"
#include "sim/analytic.hpp"

namespace orrery {
namespace {

// Times the ops of one step. Ranks call it one after the other, in no fixed order.
class StepTimer : public OpTimer {
 public:
  StepTimer(const VirtualRunInput& input, VirtualDevice& device) : input_(input), device_(device) {}

  // From now on ops are timed; before they are only carried out.
  void begin(const World& world) {
    world_ = &world;
    beside_ = exchanges_beside(world, input_.predicted);
    timed_.resize(world.program.instructions.size());
  }

  Seconds time(const Instruction& instruction, const Op& op,
               const std::function<void()>& run) override {
    if (world_ == nullptr) {
      run();
      return {};
    }
    const OpTime took = device_.time(op, beside_[instruction.id.index()], run);
    timed_[instruction.id.index()].push_back({&op, took});
    return took.time;
  }

  // By instruction of the world's Program.
  std::vector<Seconds> took() const {
    std::vector<Seconds> took;
    for (const std::vector<Timed>& ops : timed_) {
      Seconds& all = took.emplace_back();
      for (const Timed& each : ops) all += each.took.time;
    }
    return took;
  }

  // In the order of the Program, so that equal times give equal records.
  std::vector<MeasuredOp> ops() const {
    std::vector<MeasuredOp> ops;
    std::map<std::pair<std::string, std::string>, std::size_t> places;
    std::map<std::pair<const Op*, int>, Seconds> known;  // ops repeat: one prediction each
    for (const Instruction& instruction : world_->program.instructions) {
      for (const Timed& each : timed_[instruction.id.index()]) {
        const std::string& work = world_->program.work(instruction).name;
        const auto [place, fresh] = places.try_emplace({work, each.op->name}, ops.size());
        if (fresh) ops.push_back({work, each.op->name, 0, {}, {}, each.took.stand_in});
        const auto [predicted, is_new] = known.try_emplace({each.op, instruction.lent_sms});
        if (is_new) predicted->second = predict(*each.op, instruction.lent_sms);
        MeasuredOp& measured = ops[place->second];
        if (each.took.stand_in.empty()) measured.stand_in.clear();  // once it had no rows, say
        ++measured.launches;
        measured.measured += each.took.time;
        measured.predicted += predicted->second;
      }
    }
    return ops;
  }

 private:
  struct Timed {
    const Op* op = nullptr;
    OpTime took;
  };

  Seconds predict(const Op& op, int lent_sms) const {
    Work alone;
    alone.ops = {op};
    return input_.costs.compute(alone, lent_sms).total();
  }

  const VirtualRunInput& input_;
  VirtualDevice& device_;
  const World* world_ = nullptr;
  std::vector<ExchangeBeside> beside_;     // by instruction
  std::vector<std::vector<Timed>> timed_;  // by instruction, in order
};

}  // namespace

std::vector<ExchangeBeside> exchanges_beside(const World& world, const Timeline& predicted) {
  struct Moved {
    Bytes bytes;
    Seconds time;
  };
  std::map<std::pair<Rank, std::int32_t>, Moved> cells;
  for (const Instruction& instruction : world.program.instructions) {
    if (instruction.stream != Stream::kComm || instruction.cell < 0) continue;
    const Wire& wire = world.program.work(instruction).wire;
    Moved& moved = cells[{instruction.rank, instruction.cell}];
    moved.bytes += std::max(wire.nic, wire.nvlink);
    moved.time += predicted.at(world.origin[instruction.id.index()]).length();
  }
  std::vector<ExchangeBeside> beside(world.program.instructions.size());
  for (const Instruction& instruction : world.program.instructions) {
    if (instruction.stream != Stream::kCompute || instruction.lent_sms == 0) continue;
    ExchangeBeside& own = beside[instruction.id.index()];
    own.ctas = instruction.lent_sms;
    const auto moved = cells.find({instruction.rank, instruction.cell});
    if (moved != cells.end() && moved->second.time > Seconds{})
      own.rate = moved->second.bytes / moved->second.time;
  }
  return beside;
}

Timeline virtual_timeline(const World& world, const Program& program, const Timeline& predicted,
                          const std::vector<Seconds>& took) {
  const Timeline clocks = run_analytic(
      world.program,
      [&](const Instruction& instruction) {
        return world.program.work(instruction).is_compute()
                   ? took[instruction.id.index()]
                   : predicted.at(world.origin[instruction.id.index()]).length();
      },
      world.gpus());
  Timeline timeline = clocks;
  timeline.source = "cuda-virtual";
  timeline.spans.resize(program.instructions.size());
  for (const Instruction& instruction : world.program.instructions) {
    if (instruction.rank.value % world.gpus_per_rank != 0) continue;
    timeline.spans[world.origin[instruction.id.index()].index()] = clocks.at(instruction.id);
  }
  return timeline;
}

VirtualRun virtual_run(const VirtualRunInput& input, VirtualDevice& device,
                       const StepTokens& tokens, const StepDone& done) {
  ORRERY_CHECK(input.steps > 0, "{} steps", input.steps);
  StepTimer timer(input, device);
  HostRunOptions options;
  options.cores = 1;  // one op at a time
  options.patience = input.patience;
  options.timer = &timer;
  LadderRun run(input.plan, input.program, input.recipe, options, device.kernels());
  for (int step = 0; step < input.steps; ++step) {
    if (step + 1 == input.steps) timer.begin(run.world());
    run.step([&](std::int64_t index, std::span<std::int32_t> into) { tokens(step, index, into); });
    done(step, run.ladder());
  }
  VirtualRun result;
  result.ladder = run.ladder();
  result.timeline = virtual_timeline(run.world(), input.program, input.predicted, timer.took());
  result.kernels = {device.name(), device.simulated(), input.calibration, timer.ops()};
  return result;
}

}  // namespace orrery
