#pragma once
// Runs the ops of a real run and says how long they took, where that is not the time of the CPU
// that calls them: kernels on a GPU.
#include <functional>

#include "core/op.hpp"
#include "core/program.hpp"
#include "core/quantity.hpp"

namespace orrery {

class OpTimer {
 public:
  virtual ~OpTimer() = default;
  // Calls `run` once: the calls of kernels that the op consists of, none where nothing has to be
  // done to the values. Of several ranks one at a time, where the run has one core.
  virtual Seconds time(const Instruction& instruction, const Op& op,
                       const std::function<void()>& run) = 0;
};

}  // namespace orrery
