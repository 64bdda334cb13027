#include "planner/finalist_schedules.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace orrery {

void search_finalist_schedules(std::vector<ScoredPlan>& plans, int count, Objective objective,
                               const std::function<DeviceModel(const Cluster&)>& device,
                               long effort, const FinalistProgress& progress) {
  const std::size_t wanted = std::min(plans.size(), static_cast<std::size_t>(count));
  for (std::size_t at = 0; at < wanted; ++at) {
    ScoredPlan& plan = plans[at];
    SearchProgress own;
    if (progress) {
      own = [&progress, at](long spent, long of, double makespan) {
        progress(static_cast<int>(at), spent, of, makespan);
      };
    }
    auto searched = std::make_shared<PlanScheduleSearch>(
        search_plan_schedule(plan.plan, device(plan.plan.cluster), effort, own));
    const Seconds step = std::min(searched->before, searched->after);
    plan.gpu_hours *= step / plan.step;
    plan.step = step;
    if (plan.fidelity == kScored) plan.fidelity = kSimulated;
    if (searched->better()) {
      plan.plan = searched->plan;
      plan.memory = searched->memory_after;
      plan.fullest = searched->fullest_after;
    }
    plan.searched = std::move(searched);
  }
  const auto simulated_end =
      std::stable_partition(plans.begin(), plans.end(),
                            [](const ScoredPlan& plan) { return plan.fidelity != kScored; });
  std::stable_sort(plans.begin(), simulated_end, [&](const ScoredPlan& a, const ScoredPlan& b) {
    return objective == Objective::kGpuHours ? a.gpu_hours < b.gpu_hours : a.step < b.step;
  });
}

}  // namespace orrery
