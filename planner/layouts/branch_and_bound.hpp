#pragma once
// Branch and bound over the space of layouts (planner/layouts/space.hpp).
//
// Settings come in the order of their lower bounds; one whose bound lies above the best rows found
// so far is pruned with all its points, then likewise a setting with a schedule, then a single
// point. Bounds never exceed the score (planner/layouts/score.hpp), so that the rows are those of
// the whole space at the analytic level, and every point is accounted for:
// space = rejected + pruned + scored.
//
// A row is the best point of a layout with a schedule: the best choice of micro-batch, precision,
// recomputation, SMs and optimizer states for one (pp, tp, cp, ep, etp, vpp, schedule). Equal
// scores are told apart by memory, then by their place in the space.
//
// Asked for a front, the answer is in place of the rows the front of step time and memory headroom:
// of the points whose fullest GPU keeps a class of headroom or a higher one free, the shortest. A
// point is then pruned where one in the same class or a higher one is shorter than its bound.
//
// Settings are worked off in waves of a fixed size, between which the threads exchange what they
// found, and so do processes; neither the rows nor any count depends on how many there are.
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/device_model.hpp"
#include "planner/layouts/crew.hpp"
#include "planner/layouts/space.hpp"
#include "planner/memory.hpp"

namespace orrery {

// Which points are told apart by the memory they leave free.
struct FrontShape {
  Bytes headroom = gibibytes(8);  // of a class
  double slowest = 1.5;           // times the shortest point: longer ones are not looked for
};

struct LayoutProblem {
  const Model& model;
  const Cluster& cluster;
  const Training& training;
  const LayoutSpace& space;
  int rows = 10;            // wanted
  std::int64_t effort = 0;  // settings to look at, at the most; 0: as many as it takes
  bool prune = true;        // plain enumeration if not
  Crew* crew = nullptr;     // the processes that search; null: this one alone
  std::optional<FrontShape> front = {};
};

struct FoundLayout {
  Layout layout;  // complete, stage map included
  std::string schedule;
  Seconds score;
  MemoryTable memory;  // of the fullest pipeline rank
  Rank fullest;
};

struct LayoutsFound {
  std::map<std::string, std::int64_t> rejected;   // by reason
  std::map<std::string, RejectedPoint> examples;  // by reason
  std::int64_t pruned = 0;
  std::int64_t scored = 0;
  bool truncated = false;         // by `effort`: what was not looked at counts as pruned
  std::vector<FoundLayout> rows;  // best first; those beyond the wanted ones may not be the best
                                  // (of a front: all of it, each with more headroom than the last)
};

inline constexpr const char* kExceedsMemory = "exceeds GPU memory";
std::string memory_arithmetic(const MemoryTable& memory, Rank rank);

// `progress` is called with the number of settings done, of how many.
using ProgressCallback = std::function<void(std::int64_t done, std::int64_t of)>;
// On GPUs. Throws InputError where a schedule of the space is unknown.
LayoutsFound find_layouts(const LayoutProblem& problem, const DeviceModel& device,
                          const ProgressCallback& progress = {});

}  // namespace orrery
