#pragma once
// How training with some set of kernels compares with training by the host's in float: the same
// plan, weights and text, side by side.
//
//   loss        of every step within 1 %
//   gradients   of every tensor of the first step, relative in the Frobenius norm: within 1 % where
//               the plan trains in BF16, 5 % in FP8 (the reference then quantises as the plan does,
//               in float)
//
// In the first step the run under test follows the reference's choices of experts
// (realrun/routing_log.hpp); afterwards it chooses by itself. Casts to FP8 are step functions, too,
// and are not followed: inputs that differ by a rounding of BF16 give other codes here and there,
// which adds up with every layer: even two layers (models/micro-moe.toml) keep within 5 % with some
// seeds only (realrun/README.md).
#include <memory>
#include <string>
#include <vector>

#include "kernels/kernel_set.hpp"
#include "realrun/host_run.hpp"
#include "realrun/thread_transport.hpp"

namespace orrery {

struct GradientError {
  std::string name;  // of the tensor
  double error = 0;  // infinite where an element is no number
};

struct Ladder {
  static constexpr double kLossLimit = 0.01;

  std::vector<double> losses, reference;  // by step
  std::vector<GradientError> gradients;   // the largest first
  double gradient_limit = 0.01;
  std::int64_t choices = 0;  // of experts in the first step
  std::int64_t changed = 0;  // of them, where the run under test would have chosen another

  double worst_loss() const;      // relative, of all steps
  double worst_gradient() const;  // 0 before the first step
  bool passes() const;
};

// The recipe that such runs train with unless told otherwise: DeepSeek-V3's standard deviation of
// the first weights (0.006), with which gradients are well conditioned, and a rate at which
// training does not double a rounding with every step.
Recipe ladder_recipe();

class LadderRun {
 public:
  // `options` are of the run under test; `set` outlives this.
  LadderRun(const Plan& plan, const Program& program, const Recipe& recipe,
            const HostRunOptions& options, kernels::KernelSet<float>& set);

  // One step of both; the result is that of the run under test. Throws as HostRun::step.
  StepResult step(const TokenSource& tokens);

  const Ladder& ladder() const { return ladder_; }
  const World& world() const { return tested_->world(); }
  int extra_tokens() const { return tested_->extra_tokens(); }

 private:
  void follow(std::vector<RoutingLog>& logs, HostRun<float>& run) const;
  void compare_gradients();

  ThreadWorld threads_, reference_threads_;
  std::unique_ptr<HostRun<float>> tested_, reference_;
  Ladder ladder_;
};

}  // namespace orrery
