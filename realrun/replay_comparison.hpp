#pragma once
// A replay of one rank next to the prediction of it: what `orrery compare` does where the
// measurement is a replay (realrun/replay_record.hpp). Times are those of the rank alone, from the
// start of what was replayed; what was predicted before that is at 0.
#include <string>
#include <vector>

#include "core/program.hpp"
#include "core/timeline.hpp"
#include "realrun/replay_record.hpp"

namespace orrery {

// As predicted, as replayed, and as replayed with all gates open.
struct ReplayTimes {
  Seconds predicted, measured, open;
  double error() const { return predicted / measured - 1; }
};

struct ReplayedPair {
  int cell = 0;         // of the rank's schedule
  ReplayTimes times;    // from its first kernel or exchange to the end of the last
  int forward_moe = 0;  // MoE layers of its forward half, and of its backward half
  int backward_moe = 0;
  bool only_moe = false;  // both halves have nothing else
};

// All instructions that do the same kind of work: "attn(F)", "dispatch(F)".
struct ReplayedWork {
  std::string name;
  bool computes = true;
  int instructions = 0;
  ReplayTimes times;  // of all
};

struct ReplayComparison {
  ReplayTimes all;        // kernels and exchanges, from the start to the end of the last
  ReplayTimes computing;  // time in which the compute stream does something
  std::vector<ReplayedPair> pairs;
  std::vector<ReplayedWork> works;  // those with the largest difference first
  std::vector<MeasuredOp> ops;      // likewise
  // What the op times add up to, over what the prediction has for the same work, less 1: not 0
  // where it was made with another calibration, or for uneven loads.
  double ops_off = 0;
};

// `predicted` is of `program`, which the record's plan is lowered to.
ReplayComparison compare_replay(const Program& program, const Timeline& predicted,
                                const ReplayRecord& record);

}  // namespace orrery
