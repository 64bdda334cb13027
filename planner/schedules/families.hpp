#pragma once
// The pipeline schedules that can be generated, by name. A new family is one generator file and one
// entry here.
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/schedule.hpp"
#include "planner/schedules/p2p_order.hpp"
#include "planner/schedules/request.hpp"

namespace orrery {

// Which stages a rank holds (rank_cells.hpp).
enum class StagePlacement { kOneChunk, kWave, kV, kBidirectional };
std::string_view to_string(StagePlacement placement);

// The kinds of backward that a family's orders are made of.
struct CellForms {
  bool pairs = false;            // F&B cells
  bool full_backwards = false;   // B cells
  bool split_backwards = false;  // I and W cells
};

struct ScheduleFamily {
  std::string_view name;         // as on the command line: "dualpipe"
  std::string_view description;  // one line, no full stop
  StagePlacement placement = StagePlacement::kOneChunk;
  CellForms forms;  // that an order may have: of a small one some may be missing
  // Of pp and the micro-batches m, in words: "pp even; m even and at least 2 pp".
  std::string_view requirement;
  // Throws InputError where why_not has an answer.
  Schedule (*generate)(const ScheduleRequest& request) = nullptr;
  // Why the family has no schedule of this size, as one sentence; nothing if it has one.
  std::optional<std::string> (*why_not)(const ScheduleRequest& request) = nullptr;
  // Its order of sends and receives, where it is not the default.
  P2pOrder (*p2p)(const ScheduleRequest& request) = nullptr;
};

// The stages of each rank, without cells. `request` as for generate; its micro-batches do not
// matter.
Schedule place_stages(const ScheduleFamily& family, const ScheduleRequest& request);

// All families, in a fixed order.
std::span<const ScheduleFamily> schedule_families();

// Throws InputError (with the nearest name) if there is no such family.
const ScheduleFamily& schedule_family(std::string_view name);

// Throws InputError if there is no such family or it has no schedule of this size.
Schedule make_schedule(std::string_view name, const ScheduleRequest& request);
Schedule make_schedule(std::string_view name, int pp, int microbatches);

// Schedules of all families on the placement of `name` (with as many chunks) that have this size.
std::vector<Schedule> schedules_on_placement_of(std::string_view name,
                                                const ScheduleRequest& request);

// The family's order for a schedule that it generated; the default for any other.
P2pOrder p2p_order(const Schedule& schedule);

}  // namespace orrery
