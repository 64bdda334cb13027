#pragma once
// Carries out a ReplayScript on a device and says when everything ran.
//
//   replay            once, with its gates or with all of them open
//   measure_replay    warmed up and repeated; also with all gates open, and once with a mark around
//                     every op, which the others do without: marks cost a microsecond each
//
// With gates open what comes from other ranks is there from the start: the step is then as long as
// the rank's own computation and exchanges make it.
#include <vector>

#include "kernels/replay_device.hpp"
#include "realrun/replay_script.hpp"

namespace orrery {

enum class Gates { kPredicted, kOpen };
enum class Detail { kInstructions, kOps };

struct ReplayedStep {
  std::vector<Span> spans;  // by action, since the start
  // By action and kernel, with Detail::kOps: from the end of the one before to its own.
  std::vector<std::vector<Seconds>> ops;

  Seconds length() const;  // end of the last
};

// The device is prepared.
ReplayedStep replay(ReplayDevice& device, const ReplayScript& script, Gates gates, Detail detail);

struct ReplaySamples {
  int warm_up = 1;
  int kept = 3;  // at least 1
};

struct MeasuredReplay {
  ReplayedStep gated, open;                          // of the median length
  ReplayedStep detailed;                             // with gates and ops
  std::vector<Seconds> gated_lengths, open_lengths;  // of all that were kept, in order
};

// Prepares the device, too.
MeasuredReplay measure_replay(ReplayDevice& device, const ReplayScript& script,
                              const ReplaySamples& samples);

}  // namespace orrery
