#include "planner/plan_cells.hpp"

#include <algorithm>
#include <memory>

#include "planner/chunk_times.hpp"
#include "planner/memory.hpp"
#include "sim/analytic.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

UnitSet plan_units(const Plan& plan) {
  Layers kinds;
  for (const Layers& layers : plan.layout.stage_map)
    kinds.insert(kinds.end(), layers.begin(), layers.end());
  const RoutingSpread spread =
      routing_spread(plan.model, plan.cluster, plan.layout, plan.training.seed);
  return make_unit_set(plan.model, plan.cluster, plan.layout, plan.training.sequence, spread,
                       kinds);
}

}  // namespace

CellTimes plan_cell_times(const Plan& plan, const CostSource& costs) {
  auto units = std::make_shared<UnitSet>(plan_units(plan));
  ZeroWorks zero = make_zero_works(plan, units->works.size());
  ChunkTimer timer(plan, std::move(units), std::move(zero), costs);
  return cell_times(plan.schedule, plan.layout.stage_map, place(plan.cluster, plan.layout),
                    has_pairs(plan.schedule), timer);
}

ActivationBytes plan_activation_bytes(const Plan& plan, const DeviceModel& device) {
  const Program program = lower(plan);
  const Timeline timeline = run_analytic(program, device.costs(), plan.layout.gpus());
  ActivationBytes bytes;
  const UnitSet set = plan_units(plan);
  std::vector<StageBytes> stages;
  for (const Layers& layers : plan.layout.stage_map) {
    std::vector<LayerBytes> of;
    for (const LayerKind kind : layers) of.push_back(layer_bytes(set, kind, plan.layout.recompute));
    stages.push_back(stage_bytes(of));
  }
  bytes.stages.assign(static_cast<std::size_t>(plan.schedule.directions), stages);
  for (int rank = 0; rank < plan.layout.pp; ++rank) {
    const MemoryTable memory = rank_memory(plan, device.device(), program, timeline, Rank{rank});
    bytes.limits.push_back(memory.capacity - (memory.total() - memory.activations));
  }
  return bytes;
}

}  // namespace orrery
