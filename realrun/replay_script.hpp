#pragma once
// What one rank of a plan does in a step, as a list of things to hand to one device: the rank's
// instructions, with the rest of the cluster replaced by gates. Made from the Program and its
// predicted Timeline; carried out by realrun/replay.hpp on a ReplayDevice.
//
//   computation     its kernels, one launch an op
//   exchange        a copy in the device's memory by `ctas` blocks that each keep an SM to
//                   themselves, no faster than that it lasts what the wire is predicted to take
//   transfer        nothing but time: neither side's SMs take part in it in the prediction either
//   arrival         a gate, then the transfer's time
//
// Gates. What comes from other ranks is there `delay` after a local instruction has ended: for an
// arrival the last one that what was sent depends on, through whatever ranks the dependency goes
// (realrun/causal_predecessor.hpp); for everything else that waits for others (the slowest member
// of a group) the last local one that it waits for itself. Delays are differences of predicted
// times, never times: a device on which computation is slower gets its messages later. Only what
// depends on nothing local, the first messages of a step, counts from the start of the replay.
//
// Buffers. Weights of kResidentLayers layers lie in memory, taken in turns where the rank has more.
// What a kernel reads and writes otherwise is up to the device: values do not matter here.
#include <optional>
#include <span>
#include <vector>

#include "core/plan.hpp"
#include "core/program.hpp"
#include "core/timeline.hpp"
#include "kernels/replay_device.hpp"

namespace orrery {

// Opens `delay` after `after` has ended; after the start of the replay where there is none.
struct ReplayGate {
  std::optional<std::size_t> after;  // index into the script's actions
  Seconds delay;
  bool operator==(const ReplayGate&) const = default;
};

struct ReplayAction {
  InstructionId instruction;
  Stream stream = Stream::kCompute;
  std::int32_t cell = -1;           // as in Instruction
  std::vector<KernelCall> kernels;  // computation
  std::optional<PacedCopy> copy;    // exchange
  Seconds lasts;                    // transfer and arrival
  bool arrives = false;             // with gates open it is there at once
  std::vector<std::size_t> after;   // actions on other streams that have to end before
  std::optional<ReplayGate> gate;
};

struct ReplayScript {
  Rank rank;
  int pairs = 0;   // co-scheduled pairs it was cut to; 0: the whole step
  Seconds origin;  // of the predicted timeline: where the replay starts
  // Each behind all that it waits for, so that it can be handed over in this order.
  std::vector<ReplayAction> actions;
};

// Co-scheduled pairs one after the other on this rank: the cells [first, first + count).
struct PairRun {
  int first = 0;
  int count = 0;
};
// The longest such run of the rank; count 0 where it has none.
PairRun longest_pair_run(const Schedule& schedule, Rank rank);

// `program` is what the plan is lowered to and has to outlive the script; `predicted` is of it.
// `pairs` of them are cut out of the middle of the longest run of the rank, 0 for the whole step;
// what they wait for from before is there when they start, or arrives as it was predicted to.
// Throws InputError where there are fewer, and for what no GPU does (an optimizer on the host).
ReplayScript replay_script(const Plan& plan, const Program& program, const Timeline& predicted,
                           Rank rank, int pairs);

// Where of a timeline a replay of these instructions starts: with the step where it is whole, else
// with the first kernel or exchange among them.
Seconds replay_origin(const Program& program, const Timeline& predicted,
                      std::span<const InstructionId> replayed, bool whole);

// Its actions' predicted spans, counted from the start of the replay: what is there before is so
// at 0.
std::vector<Span> predicted_spans(const ReplayScript& script, const Timeline& predicted);

}  // namespace orrery
