#include "planner/schedules/family_problem.hpp"

#include <fmt/format.h>

#include "planner/schedules/rank_cells.hpp"

namespace orrery {

std::optional<std::string> no_room_or_memory(std::string_view family,
                                             const ScheduleRequest& request) {
  if (request.memory > 0 && request.memory < 1)
    return fmt::format("{} needs memory for one share of the activations", family);
  return no_room(family, request);
}

CompactProblem family_problem(const Schedule& placement, const ScheduleRequest& request) {
  const StageTimes& share = request.share;
  const CellTimes times =
      times_of_share(placement, without_overlap(share.F, share.I, share.W), request.hop);
  const int limit = chunk_limit(placement, request.memory > 0 ? request.memory : request.pp);
  return compact_problem(placement, times, std::vector<int>(placement.ranks.size(), limit));
}

}  // namespace orrery
