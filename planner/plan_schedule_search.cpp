#include "planner/plan_schedule_search.hpp"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "planner/prediction.hpp"
#include "planner/schedules/timing.hpp"
#include "sim/analytic.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

constexpr int kNoLimit = 1 << 20;  // in numbers

Seconds step_of(const Plan& plan, const DeviceModel& device) {
  return predict(plan, lower(plan), device, {}).timeline.step;
}

std::pair<MemoryTable, Rank> fullest_rank(const Plan& plan, const DeviceModel& device) {
  const Program program = lower(plan);
  const Timeline timeline = run_analytic(program, device.costs(), plan.layout.gpus());
  std::pair<MemoryTable, Rank> fullest = {
      rank_memory(plan, device.device(), program, timeline, Rank{0}), Rank{0}};
  for (int rank = 1; rank < plan.layout.pp; ++rank) {
    const MemoryTable memory = rank_memory(plan, device.device(), program, timeline, Rank{rank});
    if (memory.total() > fullest.first.total()) fullest = {memory, Rank{rank}};
  }
  return fullest;
}

// The plan's own schedule is within the limits, whatever they leave out.
void admit(const Plan& plan, const CellTimes& times, ActivationBytes& bytes) {
  const std::optional<CompactOrder> order = compact_order(plan.schedule);
  ORRERY_CHECK(order.has_value(), "a plan's schedule takes its micro-batches in order");
  CompactProblem problem =
      compact_problem(plan.schedule, times, std::vector<int>(order->size(), kNoLimit));
  count_bytes(problem, plan.schedule, bytes);
  for (std::size_t rank = 0; rank < order->size(); ++rank) {
    const double peak = peak_bytes(problem, rank, (*order)[rank]);
    bytes.limits[rank] = std::max(bytes.limits[rank], Bytes{peak});
  }
}

ScheduleSearchRequest request_for(const Plan& plan, const CellTimes& times,
                                  const ActivationBytes& bytes, long effort) {
  ScheduleSearchRequest request;
  request.starts.push_back(plan.schedule);
  request.times = times;
  request.limits.assign(plan.schedule.ranks.size(), kNoLimit);
  request.bytes = bytes;
  request.effort = effort;
  return request;
}

}  // namespace

std::vector<Bytes> memory_lacking(const Plan& plan, const DeviceModel& device) {
  const Program program = lower(plan);
  const Timeline timeline = run_analytic(program, device.costs(), plan.layout.gpus());
  std::vector<Bytes> lacking;
  for (int rank = 0; rank < plan.layout.pp; ++rank) {
    const MemoryTable memory = rank_memory(plan, device.device(), program, timeline, Rank{rank});
    lacking.push_back(std::max(Bytes{}, memory.total() - memory.capacity));
  }
  return lacking;
}

bool fits(const Plan& plan, const DeviceModel& device) {
  const std::vector<Bytes> lacking = memory_lacking(plan, device);
  return std::all_of(lacking.begin(), lacking.end(),
                     [](Bytes bytes) { return bytes.value() == 0; });
}

CompactProblem plan_problem(const Plan& plan, const DeviceModel& device, const CellTimes& times) {
  ActivationBytes bytes = plan_activation_bytes(plan, device);
  admit(plan, times, bytes);
  CompactProblem problem =
      compact_problem(plan.schedule, times, std::vector<int>(plan.schedule.ranks.size(), kNoLimit));
  count_bytes(problem, plan.schedule, bytes);
  return problem;
}

ScheduleSearchResult search_cells(const Plan& plan, const DeviceModel& device, long effort) {
  const CellTimes times = plan_cell_times(plan, device.costs());
  ActivationBytes bytes = plan_activation_bytes(plan, device);
  admit(plan, times, bytes);
  return search_schedule(request_for(plan, times, bytes, effort));
}

PlanScheduleSearch search_plan_schedule(const Plan& plan, const DeviceModel& device, long effort,
                                        const SearchProgress& progress,
                                        const std::vector<Schedule>& also) {
  constexpr int kRounds = 4;
  PlanScheduleSearch out;
  out.plan = plan;
  out.times = plan_cell_times(plan, device.costs());
  out.bytes = plan_activation_bytes(plan, device);
  out.cells_before = time_schedule(plan.schedule, out.times).makespan.value();
  out.before = out.after = step_of(plan, device);
  for (int round = 0; round < kRounds && !out.fits; ++round) {
    admit(plan, out.times, out.bytes);
    ScheduleSearchRequest request = request_for(plan, out.times, out.bytes, effort);
    request.starts.insert(request.starts.end(), also.begin(), also.end());
    out.search = search_schedule(request, progress);
    // Contention is not in the cell times: of the schedules found the one that it hurts least
    // counts.
    std::vector<Schedule> found = out.search.others;
    found.insert(found.begin(), out.search.schedule);
    std::optional<Seconds> shortest;
    std::optional<std::vector<Bytes>> lacking;  // of the shortest by cell times
    for (const Schedule& schedule : found) {
      if (schedule.ranks == plan.schedule.ranks) continue;  // where the search started
      Plan searched = plan;
      searched.schedule = schedule;
      const std::vector<Bytes> lacks = memory_lacking(searched, device);
      if (!lacking) lacking = lacks;
      if (std::any_of(lacks.begin(), lacks.end(), [](Bytes of) { return of.value() > 0; }))
        continue;
      const Seconds step = step_of(searched, device);
      if (shortest && step >= *shortest) continue;
      shortest = step;
      out.plan = std::move(searched);
    }
    if (shortest) {
      out.after = *shortest;
      out.fits = true;
      if (!out.better()) out.plan = plan;
    }
    if (!lacking) break;
    // What the cells leave out: messages under way, cells that overlap.
    for (std::size_t rank = 0; rank < lacking->size(); ++rank)
      out.bytes.limits[rank] -= (*lacking)[rank];
  }
  std::tie(out.memory_before, out.fullest_before) = fullest_rank(plan, device);
  std::tie(out.memory_after, out.fullest_after) =
      out.better() ? fullest_rank(out.plan, device)
                   : std::pair{out.memory_before, out.fullest_before};
  return out;
}

}  // namespace orrery
