#pragma once
// clang-format off
// Times of the cells of a schedule from a JSON file, stage by stage, in any one unit:
//
//   {"format_version": "1.0",
//    "hop": 0.1,                          latency of a message between ranks; or send times, below
//    "limits": [9, 9.5, ...],             optional: activations by rank, in shares of 1/pp
//    "directions": [                      one, or two for bidirectional schedules
//      {"stages": [{"F": 1, "I": 1.2, "W": 0.6,
//                   "B": 1.6, "B_gradient_ready": 1.4,
//                                         optional: a full backward, and when its output is ready,
//                                         from its start; I + W, and its end
//                   "FB": 2.4, "FI": 2,   optional: pairs with a forward of this stage; default
//                                         F + B and F + I; none is shorter than what it overlaps
//                   "needs_gradient": 0.2, "forward_ready": 2.1, "gradient_ready": 2.4,
//                                         optional, all or none: inside a pair, from its start
//                   "send_activation": 0.1, "send_gradient": 0.1},      optional: instead of "hop"
//                  ...]}]}
// clang-format on
#include <optional>
#include <string>
#include <vector>

#include "core/schedule.hpp"
#include "planner/schedules/times.hpp"

namespace orrery {

struct TimesFile {
  CellTimes times;
  std::optional<std::vector<double>> limits;  // [rank], shares of 1/pp
};

// For the stages, directions and ranks of `placement`; its cells do not matter. Throws InputError
// with all that is wrong in the file.
TimesFile read_times(const std::string& path, const Schedule& placement);

}  // namespace orrery
