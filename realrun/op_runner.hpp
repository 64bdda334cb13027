#pragma once
// Runs the ops of a rank's computations, one after the other, and times them where that is wanted.
#include <span>
#include <vector>

#include "realrun/host_ops.hpp"
#include "realrun/op_timer.hpp"

namespace orrery {

// The time of one op, for calibration and measurement.
struct OpSample {
  InstructionId instruction;
  WorkId work;
  std::int32_t op = 0;
  double rows = 0;    // of the local experts then; 0 outside of their ops
  double tokens = 0;  // received then
  Seconds time;       // of the CPU, with one reading of its clock; or what the timer says
};

template <class T>
class OpRunner {
 public:
  // `computations`: those of the rank. `samples` may be null: ops are not timed. `timer` may be
  // null: the clock of the thread times them, those with something to do on the host and the
  // optimizer apart.
  OpRunner(const Program& program, RankState<T>& rank, std::span<const InstructionId> computations,
           std::vector<OpSample>* samples, OpTimer* timer);

  void run(const Instruction& instruction);

 private:
  void run_optimizer(const Instruction& instruction);
  void run_with_timer(const Instruction& instruction, Frame<T>& frame);
  void run_with_clock(const Instruction& instruction, Frame<T>& frame);
  void add_sample(const Instruction& instruction, std::size_t op, const Frame<T>* frame,
                  Seconds time);

  const Program& program_;
  RankState<T>& rank_;
  std::vector<OpSample>* samples_;
  OpTimer* timer_;
  std::vector<std::vector<HostOp<T>>> ops_;  // by work; filled for the works of this rank
};

extern template class OpRunner<float>;
extern template class OpRunner<double>;

}  // namespace orrery
