#pragma once
// Which instructions of a Program may start: counts down what each still waits for. It knows no
// time; the engines (analytic, SimGrid) and the executor of real runs tell it what has ended and
// ask what may start.
//
// Cost: one pass over the Program to set up, then O(successors) per completed instruction.
#include <string>
#include <vector>

#include "core/program.hpp"

namespace orrery {

class DependencyTracker {
 public:
  explicit DependencyTracker(const Program& program);

  // Instructions that wait for nothing. As below, a transfer is represented by its send.
  std::vector<InstructionId> initial();
  // Marks `id` as ended (for a send, its recv too) and appends to `startable` what may start now:
  // single instructions, sends whose recv is waiting, and all members of a collective once the last
  // is ready.
  void complete(InstructionId id, std::vector<InstructionId>& startable);

  // What waits for `id`: by dependency or as the next on its stream.
  std::span<const InstructionId> successors(InstructionId id) const {
    return std::span(successors_)
        .subspan(first_successor_[id.index()],
                 first_successor_[id.index() + 1] - first_successor_[id.index()]);
  }
  std::size_t completed() const { return completed_; }
  bool finished() const { return completed_ == program_.instructions.size(); }
  // Why nothing can start although not all has ended: for each rank that is stuck, its first
  // waiting instruction.
  std::string describe_deadlock() const;

 private:
  void ready(InstructionId id, std::vector<InstructionId>& startable);
  void complete_one(InstructionId id, std::vector<InstructionId>& startable);

  const Program& program_;
  std::vector<std::int32_t> waiting_;  // by instruction: predecessors that have not ended
  std::vector<std::uint32_t>
      first_successor_;  // by instruction, into successors_; one more at the end
  std::vector<InstructionId> successors_;
  std::vector<char> done_;
  std::vector<char> reached_;                     // waits for nothing on its own rank
  std::vector<std::int32_t> collective_missing_;  // members not yet ready
  std::size_t completed_ = 0;
};

// "rank 3: attn(F), micro-batch 5, stage 2": for messages about an instruction.
std::string describe(const Program& program, InstructionId id);

}  // namespace orrery
