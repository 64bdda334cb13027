#include "planner/joint_search.hpp"

#include <algorithm>

namespace orrery {
namespace {

struct Round {
  double effort;     // of the whole search
  std::size_t kept;  // maps that go on to the next
};
constexpr Round kRounds[] = {{0.01, 6}, {0.1, 2}};

// Searched ones first, shortest first; then by bound.
void rank_tries(std::vector<JointTry>& tries) {
  std::stable_sort(tries.begin(), tries.end(), [](const JointTry& a, const JointTry& b) {
    if ((a.searched > 0) != (b.searched > 0)) return a.searched > 0;
    return a.searched > 0 ? a.searched < b.searched : a.bound < b.bound;
  });
}

}  // namespace

JointSearch search_maps_and_schedules(const Plan& plan, const DeviceModel& device, int most_moves,
                                      long effort) {
  JointSearch out;
  for (const StageMapTry& tried : search_stage_map(plan, device, most_moves).tries)
    out.tries.push_back({tried.map, tried.family, tried.bound, 0, std::nullopt, std::nullopt});
  rank_tries(out.tries);
  if (effort <= 0) effort = default_effort(plan.schedule);
  std::size_t kept = out.tries.size();
  for (const Round& round : kRounds) {
    double shortest = 0;
    for (std::size_t number = 0; number < kept; ++number) {
      JointTry& tried = out.tries[number];
      const Plan own = with_stage_map(plan, tried.map);
      if ((shortest > 0 && tried.bound >= shortest) || !fits(own, device)) continue;
      const auto spent = static_cast<long>(round.effort * static_cast<double>(effort)) + 1;
      ScheduleSearchResult found = search_cells(own, device, spent);
      tried.searched = found.makespan;
      tried.shortest = std::move(found.schedule);
      shortest = shortest == 0 ? tried.searched : std::min(shortest, tried.searched);
    }
    rank_tries(out.tries);
    kept = std::min(kept, round.kept);
  }
  std::optional<Seconds> step;
  for (std::size_t number = 0; number < kept; ++number) {
    JointTry& tried = out.tries[number];
    if (tried.searched == 0) break;
    tried.whole = search_plan_schedule(with_stage_map(plan, tried.map), device, effort, {},
                                       {*tried.shortest});
    tried.searched = tried.whole->search.makespan;
    if (step && tried.whole->after >= *step) continue;
    step = tried.whole->after;
    out.best = number;
  }
  for (std::size_t number = 1; number < out.tries.size(); ++number) {
    if (out.tries[number].family < out.tries[out.best_family].family) out.best_family = number;
  }
  return out;
}

}  // namespace orrery
