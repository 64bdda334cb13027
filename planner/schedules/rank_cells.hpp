#pragma once
// What the generators share: placements, and the checks that every family makes.
#include <optional>
#include <string>
#include <string_view>

#include "core/schedule.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

// Why no schedule at all has this size; nothing if there may be one.
std::optional<std::string> no_room(std::string_view family, const ScheduleRequest& request);

// Throws InputError with `why_not`, if there is one, and what to do.
void refuse(const std::optional<std::string>& why_not,
            std::string_view hint = "choose pp and the number of micro-batches to suit");

// Empty lists of cells on these placements:
//   one chunk       rank r: stage r
//   wave            chunk j of rank r: stage j pp + r (interleaved)
//   V               rank r: stages r and 2 pp - 1 - r
//   bidirectional   rank r: stage r of direction 0, stage pp - 1 - r of direction 1
Schedule one_chunk_schedule(std::string_view family, const ScheduleRequest& request);
Schedule wave_schedule(std::string_view family, const ScheduleRequest& request, int chunks);
Schedule v_schedule(std::string_view family, const ScheduleRequest& request);
Schedule bidirectional_schedule(std::string_view family, const ScheduleRequest& request);

}  // namespace orrery
