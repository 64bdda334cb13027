#include "planner/plan_builder.hpp"

#include <fmt/format.h>

#include "core/layout_check.hpp"
#include "core/stage_map.hpp"
#include "planner/reject_input.hpp"
#include "planner/schedules/families.hpp"
#include "planner/stage_map_search.hpp"
#include "workload/unit_set.hpp"
#include "workload/zero_works.hpp"

namespace orrery {

std::vector<LayerKind> model_entries(const Model& model) {
  std::vector<LayerKind> entries = {LayerKind::kEmbedding};
  entries.insert(entries.end(), static_cast<std::size_t>(model.dense_layers), LayerKind::kDense);
  entries.insert(entries.end(), static_cast<std::size_t>(model.moe_layers()), LayerKind::kMoe);
  entries.insert(entries.end(), static_cast<std::size_t>(model.mtp_depth), LayerKind::kMtp);
  entries.push_back(LayerKind::kHead);
  return entries;
}

StageMap default_stage_map(const Model& model, const SettingSums& sums, int stages) {
  if (model.stage_map && model.stage_map_pp == stages) {
    Diagnostics diagnostics;
    StageMap map = parse_stage_map(*model.stage_map, diagnostics);
    diagnostics.throw_if_errors();
    return map;
  }
  const std::vector<LayerKind> entries = model_entries(model);
  std::vector<Seconds> costs;
  for (LayerKind kind : entries) {
    const EntrySums& entry = sums.of(kind);
    costs.push_back(Seconds{entry.F + entry.I + entry.W});
  }
  return best_stage_map(entries, costs, stages);
}

SettingSums sum_setting(const Plan& plan, const CostSource& costs) {
  const RoutingSpread spread =
      routing_spread(plan.model, plan.cluster, plan.layout, plan.training.seed);
  const UnitSet set = make_unit_set(plan.model, plan.cluster, plan.layout, plan.training.sequence,
                                    spread, model_entries(plan.model));
  return sum_setting(set, plan.layout.recompute, {plan.layout.comm_sms, plan.layout.comm_sms},
                     costs);
}

Plan build_plan(PlanRequest request, const CostSource& costs) {
  Plan plan;
  plan.model = std::move(request.model);
  plan.cluster = std::move(request.cluster);
  plan.training = request.training;
  plan.layout = std::move(request.layout);
  plan.calibration = std::move(request.calibration);
  // Families with several chunks a rank bring their own number where none is asked for.
  const StagePlacement placement = schedule_family(request.schedule).placement;
  const bool chunked = placement == StagePlacement::kV || placement == StagePlacement::kWave;
  if (chunked && plan.layout.vpp == 1) plan.layout.vpp = 2;
  const int stages = plan.layout.pp * plan.layout.vpp;
  Diagnostics diagnostics;
  if (request.stage_map) {
    plan.layout.stage_map = parse_stage_map(*request.stage_map, diagnostics);
    diagnostics.throw_if_errors();
  }
  check_layout(plan.model, plan.cluster, plan.training, plan.layout, diagnostics);
  diagnostics.throw_if_errors();
  if (plan.layout.stage_map.empty())
    plan.layout.stage_map = default_stage_map(plan.model, sum_setting(plan, costs), stages);
  check_stage_map(plan.layout.stage_map, plan.model, stages, diagnostics);
  diagnostics.throw_if_errors();
  ScheduleRequest wanted;
  wanted.pp = plan.layout.pp;
  wanted.microbatches = plan.microbatches();
  wanted.chunks = plan.layout.vpp;
  plan.schedule = make_schedule(request.schedule, wanted);
  if (plan.schedule.stages() != stages) {
    reject_input(
        fmt::format("vpp={} makes {} stages, but {} has {} a rank and direction: {} stages",
                    plan.layout.vpp, stages, request.schedule,
                    placement == StagePlacement::kV ? "two chunks" : "one chunk",
                    plan.schedule.stages()),
        placement == StagePlacement::kV ? "leave vpp out" : "leave vpp at 1");
  }
  if (auto why = why_no_zero(plan.layout, plan.schedule)) reject_input(std::move(*why), kZeroHint);
  return plan;
}

}  // namespace orrery
