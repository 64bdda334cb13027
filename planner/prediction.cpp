#include "planner/prediction.hpp"

#include <algorithm>

#include "sim/analytic.hpp"
#include "sim/cluster_step.hpp"
#include "sim/host_engine.hpp"
#include "workload/loaded_program.hpp"

namespace orrery {
namespace {

// The first GPU of each pipeline rank stands for it.
Timeline representatives(const Program& program, const World& world, const Timeline& timeline) {
  Timeline out = timeline;
  out.spans.resize(program.instructions.size());
  for (std::size_t id = 0; id < program.instructions.size(); ++id)
    out.spans[id] = timeline.spans[id * static_cast<std::size_t>(world.gpus_per_rank)];
  return out;
}

// By instruction of the world. What a pace asks for is known before the run, so it is that of even
// rows; what an instruction works follows its rows.
std::vector<HostTime> times_of(const World& world, const Plan& plan, const HostCost& costs,
                               const PredictionOptions& options) {
  const HostTimes even(world.program, costs, options.pace);
  std::vector<HostTime> times;
  for (const Instruction& instruction : world.program.instructions)
    times.push_back(even.at(instruction));
  if (options.loads == nullptr) return times;
  const Program loaded = with_loads(world.program, plan, *options.loads, world.gpus_per_rank);
  const HostTimes uneven(loaded, costs, 0);
  for (const Instruction& instruction : loaded.instructions)
    times[instruction.id.index()].work = uneven.at(instruction).work;
  return times;
}

}  // namespace

Prediction predict(const Plan& plan, const Program& program, const DeviceModel& model,
                   const PredictionOptions& options) {
  Prediction prediction;
  if (model.host() == nullptr) {
    if (options.fidelity == Fidelity::kAnalytic) {
      const Program loaded =
          options.loads == nullptr ? program : with_loads(program, plan, *options.loads, 1);
      prediction.timeline = run_analytic(loaded, model.costs(), plan.layout.gpus());
    } else {
      const bool full = options.fidelity == Fidelity::kFull;
      Skew& skew = prediction.skew;
      skew = options.skew;
      if (options.loads != nullptr) {
        skew.kind = SkewKind::kMeasured;
        skew.measured = options.loads;
      }
      prediction.cluster = run_cluster(
          plan, program, model.costs(), full ? Grouping::kNone : Grouping::kFolded,
          options.faults == nullptr ? Faults{} : *options.faults, skew, options.with_links);
      prediction.timeline = prediction.cluster->timeline;
    }
    return prediction;
  }
  prediction.world = expand(program, plan.layout);
  prediction.world_times = times_of(*prediction.world, plan, *model.host(), options);
  HostMachine machine = model.host()->machine();
  // A trace shows what busy cores cost each other.
  if (!options.speeds.empty()) std::fill(machine.slowdown.begin(), machine.slowdown.end(), 1.0);
  prediction.world_timeline = run_host(prediction.world->program, machine,
                                       RecordedTimes(prediction.world_times), options.speeds);
  prediction.timeline = representatives(program, *prediction.world, prediction.world_timeline);
  return prediction;
}

}  // namespace orrery
