#pragma once
// What a virtual run prints: what runs on what, a line a step, the ladder and the step's time.
#include <string>

#include "realrun/virtual_run.hpp"

namespace orrery {

// `source` of the predicted timeline; `corpus`: the file of the text, empty for orrery's own.
std::string virtual_run_heading(const VirtualRunInput& input, const VirtualDevice& device,
                                const std::string& source, const std::string& corpus);
std::string virtual_run_step_line(int step, const Ladder& ladder);  // of the last step, from 0
std::string virtual_run_closing(const Timeline& predicted, const VirtualRun& run);

}  // namespace orrery
