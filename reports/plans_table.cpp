#include "reports/plans_table.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/stage_map.hpp"
#include "planner/plan_schedule_search.hpp"
#include "reports/number.hpp"
#include "reports/table.hpp"

namespace orrery {

std::string plans_table(const SearchRequest& request, const std::vector<ScoredPlan>& plans,
                        PlansOf kind) {
  const bool run = request.training.tokens > 0;
  const bool front = kind == PlansOf::kFront;
  Bytes most;
  Seconds longest;
  for (const ScoredPlan& plan : plans) {
    most = std::max(most, plan.memory.total());
    longest = std::max(longest, plan.step);
  }
  const MemoryUnit unit = memory_unit(most);
  const TimeUnit time = time_unit(longest);
  std::vector<Column> columns;
  const auto add = [&](std::string title, std::string absent, bool left, auto cell) {
    Column& column = columns.emplace_back(Column{std::move(title), std::move(absent), left, {}});
    for (const ScoredPlan& plan : plans) column.cells.push_back(cell(plan));
  };
  const auto number = [&](const char* title, const char* absent, int Layout::*of) {
    add(title, absent, false,
        [&](const ScoredPlan& plan) { return std::to_string(plan.plan.layout.*of); });
  };
  int position = 0;
  add("#", "", false, [&](const ScoredPlan&) { return std::to_string(++position); });
  if (kind != PlansOf::kOneSize) {
    add("GPUs", "", false, [](const ScoredPlan& plan) {
      return grouped(static_cast<double>(plan.plan.cluster.gpus()));
    });
  }
  add(fmt::format("step, {}", time.name), "", false,
      [&](const ScoredPlan& plan) { return fmt::format("{:.3f}", plan.step / time.time); });
  add("GPU-hours", "-", false,
      [&](const ScoredPlan& plan) { return run ? grouped(plan.gpu_hours) : "-"; });
  if (kind == PlansOf::kOneSize) {
    add("behind", "", false, [&](const ScoredPlan& plan) {
      return &plan == &plans.front() ? "-" : signed_percent(plan.step / plans.front().step - 1);
    });
  } else {
    add("days", "-", false, [&](const ScoredPlan& plan) {
      return run ? fmt::format("{:.1f}", plan.gpu_hours / plan.plan.cluster.gpus() / 24) : "-";
    });
  }
  add(fmt::format("{}, {}", front ? "free" : "memory", unit.name), "", false,
      [&](const ScoredPlan& plan) {
        return fmt::format("{:.1f}",
                           (front ? plan.memory.free() : plan.memory.total()) / unit.bytes);
      });
  add("fidelity", "", true, [](const ScoredPlan& plan) { return plan.fidelity; });
  number("pp", "", &Layout::pp);
  number("tp", "1", &Layout::tp);
  number("cp", "1", &Layout::cp);
  number("ep", request.model.moe.experts > 0 ? "" : "1", &Layout::ep);
  number("etp", "1", &Layout::etp);
  number("dp", "", &Layout::dp);
  add("schedule", "", true, [](const ScoredPlan& plan) {
    const bool searched = plan.searched != nullptr && plan.searched->better();
    return plan.schedule + (searched ? ", searched" : "");
  });
  number("vpp", "1", &Layout::vpp);
  number("mbs", "1", &Layout::micro_batch);
  number("zero", "1", &Layout::zero_stage);
  add("optimizer", "gpu", true,
      [](const ScoredPlan& plan) { return std::string(to_string(plan.plan.layout.optimizer)); });
  add("EMA", "cpu", true,
      [](const ScoredPlan& plan) { return std::string(to_string(plan.plan.layout.ema)); });
  add("recompute", "", true,
      [](const ScoredPlan& plan) { return std::string(to_string(plan.plan.layout.recompute)); });
  add("precision", "", true,
      [](const ScoredPlan& plan) { return std::string(to_string(plan.plan.layout.precision)); });
  if (request.cluster.fabric.kind != FabricKind::kHost) number("SMs", "", &Layout::comm_sms);
  add("stages", "", true,
      [](const ScoredPlan& plan) { return format_stage_map(plan.plan.layout.stage_map); });
  const bool host = request.cluster.fabric.kind == FabricKind::kHost;
  return table_text(columns, plans.size()) +
         fmt::format("  {} of the fullest {}, of {:.1f} {}\n\n",
                     front ? "free is the memory" : "memory is that", host ? "rank" : "GPU",
                     plans.front().memory.capacity / unit.bytes, unit.name);
}

}  // namespace orrery
