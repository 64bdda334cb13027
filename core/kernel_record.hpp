#pragma once
// The kernels that a timeline was made of, where each was timed by itself: part of the timeline
// file
//
//   "kernels": {"device": "NVIDIA H200", "simulated": false, "calibration": "h200",
//               "ops": [{"work": "attn(F)", "op": "q_up fprop", "launches": 16,
//                        "predicted_s": 0.004, "measured_s": 0.005, "stand_in": ""}]}
//
// and, the list of ops alone, of a replay's (realrun/replay_record.hpp).
#include <string>
#include <vector>

#include "core/quantity.hpp"

namespace orrery {

class Reader;

// All launches of an op of one name in works of one name.
struct MeasuredOp {
  std::string work, op;
  int launches = 0;
  Seconds predicted, measured;  // of all
  // What was done instead where there is no kernel for it: "a copy of as many bytes"; else empty.
  std::string stand_in;
  bool operator==(const MeasuredOp&) const = default;
};

struct KernelRecord {
  std::string device;
  bool simulated = false;       // the device was none: no time was measured
  std::string calibration;      // whose op times the ops were predicted with
  std::vector<MeasuredOp> ops;  // in the order of their first launch
  bool operator==(const KernelRecord&) const = default;
};

// An array, an op a line.
std::string to_json(const std::vector<MeasuredOp>& ops);
std::string to_json(const KernelRecord& record);

// Under the key "ops" of `from`; errors go to its diagnostics, as of the next.
std::vector<MeasuredOp> read_measured_ops(Reader& from);
KernelRecord read_kernel_record(Reader& kernels);

}  // namespace orrery
