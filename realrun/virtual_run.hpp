#pragma once
// All ranks of a plan on one device, with virtual clocks: what `orrery realrun --mode cuda-virtual`
// does.
//
// The ranks train for real, in the order of the Program's dependencies and one op of one rank at a
// time (realrun/host_run.hpp); how the training compares with the host's in float is the ladder
// (realrun/ladder.hpp). In the last step every op is timed, alone or, where the plan lends SMs to
// communication meanwhile, launched together with an exchange on another stream. Every rank and
// stream has a clock of its own, which only these times move on:
//
//   computation    starts when its predecessor on the stream and its dependencies have ended, lasts
//                  as long as its ops' kernels took
//   communication  the same, all its sides at once; lasts what is predicted for it: the link
//                  model's time
//
// so that the step is what the ranks would take on devices of their own, the wire as modelled. Gaps
// between kernels are none: an op is as long as its kernels.
#include <functional>
#include <string>
#include <vector>

#include "core/kernel_record.hpp"
#include "core/plan.hpp"
#include "core/timeline.hpp"
#include "kernels/virtual_device.hpp"
#include "realrun/ladder.hpp"
#include "sim/cost_source.hpp"

namespace orrery {

struct VirtualRunInput {
  const Plan& plan;
  const Program& program;     // that it is lowered to
  const Timeline& predicted;  // of it: how long communication takes
  const CostSource& costs;    // what each op is predicted to take
  std::string calibration;    // their name
  Recipe recipe = ladder_recipe();
  int steps = 20;  // at least 1
  Seconds patience{300};
};

struct VirtualRun {
  Ladder ladder;
  // Of the plan's Program: on each pipeline rank those of its first GPU; the step of them all.
  Timeline timeline;
  KernelRecord kernels;  // of all GPUs
};

// Fills a sequence of a step (from 0), as TokenSource does.
using StepTokens =
    std::function<void(int step, std::int64_t sequence_index, std::span<std::int32_t> tokens)>;
// What to tell the user meanwhile: a step is over.
using StepDone = std::function<void(int step, const Ladder& ladder)>;

// Throws ProgramError where the plan cannot be carried out, std::runtime_error where the device
// fails.
VirtualRun virtual_run(const VirtualRunInput& input, VirtualDevice& device,
                       const StepTokens& tokens, const StepDone& done);

// What runs beside the computations of each GPU's cells, by instruction of the world's Program: the
// exchanges of the cell, in the mean.
std::vector<ExchangeBeside> exchanges_beside(const World& world, const Timeline& predicted);

// The virtual clocks: `took` is the time of every computation of the world's Program; the rest as
// predicted.
Timeline virtual_timeline(const World& world, const Program& program, const Timeline& predicted,
                          const std::vector<Seconds>& took);

}  // namespace orrery
