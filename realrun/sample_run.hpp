#pragma once
// Short runs of small layouts on made-up text: what calibration measures ops in, and a fixed piece
// of such work that says how fast the machine is right now.
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

// One step after the other, on so many cores.
template <class T>
class SampleRun {
 public:
  SampleRun(const Plan& plan, int cores, bool time_ops);
  StepResult step();
  const Program& program() const { return run_->world().program; }

 private:
  Plan plan_;
  std::string text_;
  std::unique_ptr<ThreadWorld> threads_;
  std::unique_ptr<HostRun<T>> run_;
  std::int64_t steps_ = 0;
};

// On a machine that is shared with others the same work takes 10 to 30 % longer at times, for
// fractions of a second to minutes. A probe run beside every measurement lets both a calibration
// and what is compared with it be stated at one speed of the machine.
template <class T>
class SpeedProbe {
 public:
  SpeedProbe(const Model& model, int cores);
  // CPU time of the probe's computation on all cores, now.
  Seconds measure();

 private:
  SampleRun<T> run_;
};

extern template class SampleRun<float>;
extern template class SampleRun<double>;
extern template class SpeedProbe<float>;
extern template class SpeedProbe<double>;

}  // namespace orrery
