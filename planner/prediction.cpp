#include "planner/prediction.hpp"

#include "sim/analytic.hpp"
#include "sim/host_engine.hpp"
#include "sim/simgrid_engine.hpp"
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

}  // namespace

Prediction predict(const Plan& plan, const Program& program, const DeviceModel& model,
                   const PredictionOptions& options) {
  Prediction prediction;
  if (model.host() == nullptr) {
    const auto run = [&](const Program& own) {
      return options.fidelity == Fidelity::kAnalytic
                 ? run_analytic(own, model.costs(), plan.layout.gpus())
                 : run_folded(own, plan.cluster, model.costs(), plan.layout.gpus());
    };
    prediction.timeline =
        options.loads == nullptr ? run(program) : run(with_loads(program, plan, *options.loads, 1));
    return prediction;
  }
  prediction.world = expand(program, plan.layout);
  const Program world = options.loads == nullptr
                            ? prediction.world->program
                            : with_loads(prediction.world->program, plan, *options.loads,
                                         prediction.world->gpus_per_rank);
  const HostTimes times(world, *model.host(), options.pace);
  for (const Instruction& instruction : world.instructions)
    prediction.world_times.push_back(times.at(instruction));
  prediction.world_timeline = run_host(world, model.host()->machine(), times);
  prediction.timeline = representatives(program, *prediction.world, prediction.world_timeline);
  return prediction;
}

}  // namespace orrery
