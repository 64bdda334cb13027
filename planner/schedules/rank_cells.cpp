#include "planner/schedules/rank_cells.hpp"

#include <fmt/format.h>

#include "planner/reject_input.hpp"

namespace orrery {
namespace {

Schedule empty_schedule(std::string_view family, const ScheduleRequest& request, int directions) {
  Schedule schedule;
  schedule.family = family;
  schedule.microbatches = request.microbatches;
  schedule.directions = directions;
  schedule.chunks.resize(static_cast<std::size_t>(request.pp));
  schedule.ranks.resize(static_cast<std::size_t>(request.pp));
  return schedule;
}

}  // namespace

std::optional<std::string> no_room(std::string_view family, const ScheduleRequest& request) {
  if (request.pp < 1)
    return fmt::format("{} needs at least one pipeline rank, not pp={}", family, request.pp);
  if (request.microbatches < 1)
    return fmt::format("{} needs a micro-batch, not {}", family, request.microbatches);
  return std::nullopt;
}

void refuse(const std::optional<std::string>& why_not, std::string_view hint) {
  if (why_not) reject_input(*why_not, std::string(hint));
}

Schedule one_chunk_schedule(std::string_view family, const ScheduleRequest& request) {
  return wave_schedule(family, request, 1);
}

Schedule wave_schedule(std::string_view family, const ScheduleRequest& request, int chunks) {
  Schedule schedule = empty_schedule(family, request, 1);
  for (int rank = 0; rank < request.pp; ++rank) {
    for (int chunk = 0; chunk < chunks; ++chunk)
      schedule.chunks[static_cast<std::size_t>(rank)].push_back(
          {Stage{chunk * request.pp + rank}, 0});
  }
  return schedule;
}

Schedule v_schedule(std::string_view family, const ScheduleRequest& request) {
  Schedule schedule = empty_schedule(family, request, 1);
  for (int rank = 0; rank < request.pp; ++rank) {
    schedule.chunks[static_cast<std::size_t>(rank)] = {{Stage{rank}, 0},
                                                       {Stage{2 * request.pp - 1 - rank}, 0}};
  }
  return schedule;
}

Schedule bidirectional_schedule(std::string_view family, const ScheduleRequest& request) {
  Schedule schedule = empty_schedule(family, request, 2);
  for (int rank = 0; rank < request.pp; ++rank) {
    schedule.chunks[static_cast<std::size_t>(rank)] = {{Stage{rank}, 0},
                                                       {Stage{request.pp - 1 - rank}, 1}};
  }
  return schedule;
}

}  // namespace orrery
