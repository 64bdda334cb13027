#include "planner/schedules/gpipe.hpp"

#include "planner/schedules/rank_cells.hpp"

namespace orrery {

std::optional<std::string> gpipe_why_not(const ScheduleRequest& request) {
  return no_room("gpipe", request);
}

Schedule gpipe(const ScheduleRequest& request) {
  refuse(gpipe_why_not(request));
  Schedule schedule = one_chunk_schedule("gpipe", request);
  for (auto& cells : schedule.ranks) {
    for (int microbatch = 0; microbatch < request.microbatches; ++microbatch)
      cells.push_back(forward_cell(Microbatch{microbatch}, ChunkId{0}));
    for (int microbatch = 0; microbatch < request.microbatches; ++microbatch)
      cells.push_back(backward_cell(CellKind::kB, Microbatch{microbatch}, ChunkId{0}));
  }
  return schedule;
}

}  // namespace orrery
