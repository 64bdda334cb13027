#pragma once
// What uneven expert loads do to a step, for the engine to ask.
//
// Full (every GPU is a rank): computations of routed experts last as their own rows ask for, and
// the messages of an exchange carry what goes to (or comes from) the experts of their ends.
//
// Folded, mean-field: the network sees mean messages. A representative computes mean rows; beside
// it every GPU of up to eight of its pipeline rank's expert-parallel groups has a lateness, by how
// much it ends each instruction after the representative. It grows where a GPU has more rows than
// the mean, shrinks while the GPU catches up on what all wait for, and is the same for all of a
// group where an exchange has waited for the last of them: that wait, in the mean over the groups,
// is the straggler wait of the exchange. An exchange whose busiest end carries h times the mean
// lasts h times as long. What this leaves out: that the busiest ends fill links more than the mean.
#include <memory>

#include "core/plan.hpp"
#include "core/timeline.hpp"
#include "sim/cost_source.hpp"
#include "sim/network/folding.hpp"
#include "workload/expert_skew.hpp"

namespace orrery {

class StepSkew {
 public:
  virtual ~StepSkew() = default;
  // By how much a computation lasts longer than with even rows.
  virtual double stretch_s(InstructionId id) const = 0;
  // Bytes of a message over those with even rows.
  virtual double bytes(InstructionId id, const PlannedFlow& flow) const = 0;
  // How many times as long a message of mean size takes.
  virtual double longer(InstructionId id, const PlannedFlow& flow) const = 0;
  // An instruction could start now. How long until the last of the GPUs it stands for can too.
  virtual double wait_s(InstructionId id, double now, const Timeline& timeline) = 0;
  // It has ended; its span is known.
  virtual void ended(InstructionId id, const Timeline& timeline) = 0;
  // Once the step has ended: how long, in the mean over all GPUs, those ready first waited for the
  // others before the exchanges of the cells began.
  virtual Seconds straggler_wait(const Timeline& timeline) const = 0;
};

// `folding` is that of `plan`, and outlives the result.
std::unique_ptr<StepSkew> make_step_skew(const Plan& plan, const FoldedStep& folding,
                                         Grouping grouping, const Skew& skew,
                                         const CostSource& costs);

}  // namespace orrery
