#pragma once
// Short runs on made-up text: what calibration measures ops in, and what predictions are compared
// with.
#include <memory>
#include <string>
#include <vector>

#include "core/model.hpp"
#include "core/plan.hpp"
#include "realrun/host_run.hpp"
#include "realrun/thread_transport.hpp"

namespace orrery {

struct SampleLayout {
  int pp = 1, dp = 1, ep = 1, tp = 1;
  int zero = 1;  // stage of ZeRO
};

// Two micro-batches a rank, 1F1B, layers divided evenly.
Plan sample_plan(const Model& model, int sequence, const SampleLayout& sizes);

// One step after the other.
template <class T>
class SampleRun {
 public:
  SampleRun(const Plan& plan, const HostRunOptions& options);
  StepResult step();
  void set_pace(const InstructionTimes* pace) { run_->set_pace(pace); }
  const World& world() const { return run_->world(); }
  const Program& program() const { return world().program; }
  // The beginning of a step's timeline on the clock of SpeedMeter.
  Seconds began(const StepResult& step) const { return epoch_ + step.clock_start; }

 private:
  Plan plan_;
  std::string text_;
  std::unique_ptr<ThreadWorld> threads_;
  Seconds epoch_;  // of the transport's clock
  std::unique_ptr<HostRun<T>> run_;
  std::int64_t steps_ = 0;
};

extern template class SampleRun<float>;
extern template class SampleRun<double>;

}  // namespace orrery
