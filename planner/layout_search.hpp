#pragma once
// Which layout and schedule? Enumerate -> reject with a counted reason -> score -> keep.
//
// The space is a stated product: pp (powers of two up to the number of layers) x ep (powers of two
// up to the number of experts; 1 for a dense model) x schedule families. Every point is either
// rejected, with its reason, or scored by the analytic engine; the best are then simulated with
// contention. Nothing is dropped silently: space = rejected + scored.
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/device_model.hpp"
#include "planner/plan_builder.hpp"
#include "planner/step_summary.hpp"

namespace orrery {

struct SearchRequest {
  Model model;
  Cluster cluster;
  Training training;
  CalibrationRef calibration;
  Layout base;  // all but pp, ep, dp and the stage map
  std::optional<int> fixed_pp, fixed_ep;
  std::optional<std::string> schedule;  // one family; all if not given
  int top = 10;                         // plans to report
  int finalists = 3;                    // of these, simulated with contention
};

// One point of the space.
struct Candidate {
  int pp = 1;
  int ep = 1;
  std::string schedule;
  bool operator==(const Candidate&) const = default;
};

struct ScoredPlan {
  Candidate candidate;
  Plan plan;
  Seconds step;
  double gpu_hours = 0;
  MemoryTable memory;  // of the fullest rank
  Rank fullest;
  std::string fidelity;  // of `step`
};

// Why a candidate is out: a short reason that is counted, and the arithmetic.
struct Rejection {
  Candidate candidate;
  std::string reason;
  std::string arithmetic;
};

struct SearchResult {
  int space = 0;
  std::map<std::string, int> rejected;  // by reason
  int scored = 0;
  int simulated = 0;
  std::vector<ScoredPlan> plans;  // best first; finalists by their simulated time, then the rest
  std::vector<Rejection> rejections;
};

// `progress` is called with the number of points done, of how many. The caller chooses the engine
// for finalists.
using ProgressCallback = std::function<void(int done, int of)>;
SearchResult search_layouts(const SearchRequest& request, const DeviceModel& model,
                            const ProgressCallback& progress = {});

}  // namespace orrery
