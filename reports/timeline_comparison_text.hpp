#pragma once
// What `orrery compare` prints.
#include <string>

#include "realrun/timeline_comparison.hpp"

namespace orrery {

std::string timeline_comparison_text(const Program& program, const TimelineFile& predicted,
                                     const TimelineFile& measured,
                                     const TimelineComparison& comparison);

std::string timeline_comparison_json(const Program& program, const TimelineFile& measured,
                                     const TimelineComparison& comparison, double wall_s,
                                     double cpu_s);

}  // namespace orrery
