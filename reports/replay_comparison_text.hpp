#pragma once
// What `orrery compare` prints of a replay, and what `orrery realrun --mode cuda-replay` says of
// the one it has made.
#include <optional>
#include <string>

#include "realrun/replay_comparison.hpp"
#include "reports/kept_pair.hpp"

namespace orrery {

// `source`: of the predicted timeline. `kept` is printed where all pairs have four MoE layers on
// either side.
std::string replay_comparison_text(const std::string& source, const ReplayRecord& record,
                                   const ReplayComparison& comparison,
                                   const std::optional<KeptPair>& kept);
std::string replay_comparison_json(const ReplayRecord& record, const ReplayComparison& comparison,
                                   const std::optional<KeptPair>& kept, double wall_s,
                                   double cpu_s);

}  // namespace orrery
