#pragma once
// A predicted and a measured Timeline of one Program side by side, and where they part. What
// `orrery compare` does.
//
// The error of the step splits in two. The measured CPU time of every instruction, replayed through
// the simulator of the host, gives the step that the prediction would have been had it known all op
// times:
//   op cost   = predicted - replayed    what the calibration has wrong (slowdown by other cores
//                                       included: a measured time contains it)
//   residual  = replayed - measured     order, waiting and contention that the simulator has wrong
// Their sum is the whole error.
#include <optional>
#include <string>
#include <vector>

#include "core/program.hpp"
#include "core/timeline_json.hpp"
#include "sim/critical_path.hpp"

namespace orrery {

struct RankComparison {
  Seconds busy_predicted, busy_measured;  // computing; what is left of the step is waiting
  double wait_error = 0;                  // (predicted - measured wait) / measured step
};

// All instructions that do the same kind of work: "attn(F)", "dispatch(F)".
struct KindComparison {
  std::string name;
  bool computes = true;
  int instructions = 0;
  // CPU time of both where both say it, else the lengths of the spans.
  Seconds predicted, measured;
};

// A co-scheduled pair of a rank, from its first kernel or exchange to the end of the last.
struct PairComparison {
  Rank rank;
  int cell = 0;  // of the rank's schedule
  Seconds predicted, measured;
};

// What the critical path of a timeline consists of.
struct PathComparison {
  Seconds compute, communication, waiting;
  int instructions = 0;
  int ranks = 0;  // that it touches
  std::vector<CriticalStep> steps;
};

struct TimelineComparison {
  Seconds predicted, measured;  // of the step
  std::vector<RankComparison> ranks;
  std::vector<KindComparison> kinds;  // those with the largest difference first
  bool by_cpu_time = false;           // kinds
  // Where the measured timeline says what its kernels took.
  std::vector<PairComparison> pairs;
  std::vector<MeasuredOp> ops;  // those with the largest difference first
  PathComparison predicted_path, measured_path;
  double path_in_common = 0;  // share of the measured path's time that the predicted one has too
  // How many times longer than in the calibration the cores took in the measured step, and what is
  // predicted for that; empty where either side does not say how fast they were.
  std::optional<double> slower;
  std::optional<Seconds> at_speed;
  std::optional<Seconds> replayed;
  std::string why_not_replayed;  // where it is empty

  double error() const { return predicted / measured - 1; }
  double error_at_speed() const { return *at_speed / measured - 1; }
  double worst_wait_error() const;
  // Shares of the measured step.
  double op_cost_error() const { return (predicted - *replayed) / measured; }
  double residual() const { return (*replayed - measured) / measured; }
};

// Both are timelines of `program`.
TimelineComparison compare_timelines(const Program& program, const TimelineFile& predicted,
                                     const TimelineFile& measured);

// The Program that a timeline's plan is lowered to; every GPU of its own where a host carried it
// out. Throws InputError where the file holds no plan or was written for another program.
Program program_of(const TimelineFile& file, const std::string& path);

}  // namespace orrery
