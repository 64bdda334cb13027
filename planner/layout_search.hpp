#pragma once
// Which layout and schedule? Enumerate -> reject with a counted reason -> lower bound -> analytic
// score (planner/layouts/branch_and_bound.hpp) -> simulate the finalists.
//
// On a host, whose ranks share its cores, nothing is bounded or scored: every plan is simulated.
#include <memory>
#include <string>
#include <vector>

#include "planner/layouts/branch_and_bound.hpp"

namespace orrery {

struct PlanScheduleSearch;

inline constexpr const char* kScored = "analytic";  // fidelities of a row
inline constexpr const char* kSimulated = "folded";

struct SearchRequest {
  Model model;
  Cluster cluster;
  Training training;
  CalibrationRef calibration;
  LayoutSpace space;
  int top = 10;             // rows to report
  int finalists = 10;       // of these, simulated with contention
  std::int64_t effort = 0;  // settings to look at, at the most; 0: as many as it takes
  Crew* crew = nullptr;     // the processes that search, all with this request; null: this one
  // Instead of the best rows the front of step time and memory headroom, all of it (on GPUs).
  std::optional<FrontShape> front = {};
};

// A row of the answer: the best point of a layout with a schedule.
struct ScoredPlan {
  std::string schedule;
  Plan plan;
  Seconds score;  // of the analytic level
  Seconds step;   // of `fidelity`
  double gpu_hours = 0;
  MemoryTable memory;  // of the fullest rank
  Rank fullest;
  std::string fidelity;
  // Of its schedule, where one was searched (planner/finalist_schedules.hpp).
  std::shared_ptr<const PlanScheduleSearch> searched = {};
};

struct SearchResult {
  std::int64_t space = 0;                         // = rejected + pruned + scored
  std::map<std::string, std::int64_t> rejected;   // by reason
  std::map<std::string, RejectedPoint> examples;  // by reason, each with its arithmetic
  std::int64_t pruned = 0;
  std::int64_t scored = 0;
  int simulated = 0;  // with contention (on a host: at all)
  // So many of the plans come first, by the time of their Programs: those that were simulated, and
  // those whose Programs are too large to be simulated with contention (of fidelity kScored).
  int finalists = 0;
  bool truncated = false;
  std::vector<ScoredPlan> plans;  // best first; finalists by their simulated time, then the rest
};

// Throws InputError where a schedule of the space is unknown.
SearchResult search_layouts(const SearchRequest& request, const DeviceModel& device,
                            const ProgressCallback& progress = {});

}  // namespace orrery
