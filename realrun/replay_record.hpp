#pragma once
// The file that a replay leaves (`orrery realrun --mode cuda-replay -o`), for `orrery compare`:
//
//   {"format_version": "1.0", "kind": "cuda-replay", "device": "NVIDIA H200", "simulated": false,
//    "calibration": "h200", "program": {"fingerprint": "9f..."},
//    "rank": 3, "pairs": 4,
//    "runs": {"gated_s": [0.45, ...], "open_s": [0.44, ...]},
//    "spans": {"id": [...], "start_s": [...], "end_s": [...],
//              "open_start_s": [...], "open_end_s": [...]},
//    "ops": [{"work": "attn(F)", "op": "q_up fprop", "launches": 16, "predicted_s": 0.004,
//             "measured_s": 0.005, "stand_in": ""}],
//    "plan": {...}}
//
// Times count from the start of the replay; spans are those of the runs of the median length. Of
// ops the sums over their launches, from one more run with gates; predicted by the calibration
// named. `simulated` is true where the device was none: then no time in it was measured.
#include <string>
#include <vector>

#include "core/document.hpp"
#include "core/kernel_record.hpp"
#include "core/plan.hpp"
#include "core/program.hpp"
#include "core/timeline.hpp"
#include "realrun/replay.hpp"
#include "sim/cost_source.hpp"

namespace orrery {

struct ReplayRecord {
  std::string device;
  bool simulated = false;
  std::string calibration;  // whose op times the ops were predicted with
  std::string fingerprint;  // of the Program
  Rank rank;
  int pairs = 0;  // 0: the whole step
  std::vector<Seconds> gated_lengths, open_lengths;
  std::vector<InstructionId> ids;
  std::vector<Span> gated, open;  // by entry of ids
  std::vector<MeasuredOp> ops;    // in the order of their first launch
  Plan plan;
};

ReplayRecord replay_record(const Plan& plan, const Program& program, const ReplayScript& script,
                           const MeasuredReplay& measured, const ReplayDevice& device,
                           const CostSource& costs, std::string calibration);

std::string to_json(const ReplayRecord& record);

bool is_replay_record(const Document& document);
// Throws InputError with all errors.
ReplayRecord read_replay_record(const Document& document, Diagnostics& diagnostics);
// Throws InputError where it is of another Program, or names instructions that its rank has not.
void check_same_program(const ReplayRecord& record, const std::string& path,
                        const Program& program);

}  // namespace orrery
