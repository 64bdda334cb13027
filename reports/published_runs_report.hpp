#pragma once
// Published training runs, predicted next to measured: reports/published-runs.md.
#include <functional>
#include <string>
#include <vector>

#include "planner/published_runs.hpp"

namespace orrery {

// `progress` is called before each run with its number and how many there are.
std::string published_runs_report(const std::vector<TrainingRun>& runs,
                                  const std::function<void(int, int)>& progress = {});

}  // namespace orrery
