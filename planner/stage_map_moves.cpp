#include "planner/stage_map_moves.hpp"

#include <algorithm>
#include <optional>

#include "planner/plan_cells.hpp"
#include "planner/plan_schedule_search.hpp"
#include "planner/schedules/compact.hpp"
#include "planner/schedules/timing.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

// All maps with one layer moved from a stage to the next, or to the one before. Every stage keeps a
// layer; embedding and head stay where they are.
std::vector<StageMap> neighbours(const StageMap& map) {
  const auto is_layer = [](LayerKind kind) {
    return kind != LayerKind::kEmbedding && kind != LayerKind::kHead;
  };
  const auto layers = [&](const std::vector<LayerKind>& stage) {
    return std::count_if(stage.begin(), stage.end(), is_layer);
  };
  std::vector<StageMap> maps;
  for (std::size_t stage = 0; stage + 1 < map.size(); ++stage) {
    if (layers(map[stage]) > 1 && is_layer(map[stage].back())) {
      StageMap moved = map;
      moved[stage + 1].insert(moved[stage + 1].begin(), moved[stage].back());
      moved[stage].pop_back();
      maps.push_back(std::move(moved));
    }
    if (layers(map[stage + 1]) > 1 && is_layer(map[stage + 1].front())) {
      StageMap moved = map;
      moved[stage].push_back(moved[stage + 1].front());
      moved[stage + 1].erase(moved[stage + 1].begin());
      maps.push_back(std::move(moved));
    }
  }
  return maps;
}

// A layer moved through all stages between two: one step of the search, many of neighbours().
StageMap shifted(const StageMap& map, std::size_t from, std::size_t to) {
  StageMap moved = map;
  const auto is_end = [](LayerKind kind) {
    return kind == LayerKind::kEmbedding || kind == LayerKind::kHead;
  };
  for (std::size_t stage = from; stage < to; ++stage) {
    if (moved[stage].empty() || is_end(moved[stage].back())) return map;
    moved[stage + 1].insert(moved[stage + 1].begin(), moved[stage].back());
    moved[stage].pop_back();
  }
  for (std::size_t stage = from; stage > to; --stage) {
    if (moved[stage].empty() || is_end(moved[stage].front())) return map;
    moved[stage - 1].push_back(moved[stage].front());
    moved[stage].erase(moved[stage].begin());
  }
  for (const auto& stage : moved) {
    if (std::all_of(stage.begin(), stage.end(), is_end)) return map;
  }
  return moved;
}

}  // namespace

Plan with_stage_map(Plan plan, StageMap map) {
  plan.layout.stage_map = std::move(map);
  return plan;
}

StageMapSearch search_stage_map(const Plan& plan, const DeviceModel& device, int most_moves) {
  StageMapSearch out;
  out.plan = plan;
  const auto look_at = [&](const StageMap& map) -> const StageMapTry& {
    const auto known = std::find_if(out.tries.begin(), out.tries.end(),
                                    [&](const StageMapTry& other) { return other.map == map; });
    if (known != out.tries.end()) return *known;
    const Plan tried = with_stage_map(plan, map);
    const CellTimes times = plan_cell_times(tried, device.costs());
    out.tries.push_back({map, time_schedule(plan.schedule, times).makespan.value(),
                         lower_bound(plan_problem(tried, device, times)).makespan});
    return out.tries.back();
  };
  StageMap best = plan.layout.stage_map;
  double shortest = look_at(best).family;
  for (int move = 0; move < most_moves; ++move) {
    std::vector<StageMap> maps = neighbours(best);
    const std::size_t last = best.size() - 1;
    maps.push_back(shifted(best, 0, last));
    maps.push_back(shifted(best, last, 0));
    for (std::size_t stage = 1; stage < last; ++stage) {
      for (const std::size_t end : {std::size_t{0}, last}) {
        maps.push_back(shifted(best, end, stage));
        maps.push_back(shifted(best, stage, end));
      }
    }
    std::optional<StageMap> better;
    for (const StageMap& map : maps) {
      const double family = look_at(map).family;
      if (family >= shortest * (1 - 1e-9)) continue;
      const Plan tried = with_stage_map(plan, map);
      if (!fits(tried, device)) continue;
      shortest = family;
      better = map;
    }
    if (!better) break;
    best = *better;
  }
  out.plan.layout.stage_map = best;
  std::stable_sort(out.tries.begin(), out.tries.end(),
                   [](const StageMapTry& a, const StageMapTry& b) { return a.family < b.family; });
  return out;
}

}  // namespace orrery
