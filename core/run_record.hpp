#pragma once
// What is known of a step on a host besides its spans, modelled or real; part of the timeline file:
//
//   {"pace": 0, "cores": 2, "scalar": "float", "machine": "AMD EPYC, ...", "cpu_s": 0.123,
//    "host": {"hand_over_s": 2e-6, "wake_s": 7e-6, "slowdown": [1, 1.1]},
//    "steps_s": [...], "peak_bytes": [...], "work_s": [...], "lasts_s": [...]}
//
// Seconds and bytes throughout. `host` is there in predictions: the model of the threads that share
// cores, so that measured times can be replayed through it.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/host_machine.hpp"
#include "core/quantity.hpp"

namespace orrery {

struct Node;
class Reader;
struct ReadContext;

struct RunRecord {
  double pace = 0;      // every instruction lasts at least so many times its calibrated time; 0: no
  int cores = 1;        // used at once
  std::string scalar;   // of weights and activations; empty in a prediction
  std::string machine;  // fingerprint; empty in a prediction
  Seconds cpu;          // of the whole process in the step; 0 in a prediction
  // What realrun/speed_meter.hpp read: in the step, or in the calibration of a prediction; 0:
  // unknown.
  Seconds meter = {};
  std::optional<HostMachine> host;  // predictions: what they were made with
  std::vector<Seconds> steps;  // of all steps after the warm-up; the spans are of the median one
  std::vector<double> peak_bytes;  // activations and messages, by rank
  std::vector<Seconds>
      work;  // CPU time by instruction; a prediction has a transfer's at the receiver
  std::vector<Seconds> lasts;  // least time by instruction; empty without a pace
  bool operator==(const RunRecord&) const = default;
};

std::string to_json(const RunRecord& record);

// Errors go to the context's diagnostics.
RunRecord read_run_record(Reader& run, std::size_t instructions);

inline constexpr double kMostSeconds = 1e9;  // 31 years, within 64 bits of nanoseconds

struct AmountLimit {
  double most = kMostSeconds;
  std::string_view text = "1e9 s";
};

// A finite number of 0 to the limit, or nothing and an error.
std::optional<double> read_amount(const Node& node, std::string_view what,
                                  const ReadContext& context, AmountLimit limit = {});

}  // namespace orrery
