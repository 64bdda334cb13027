#pragma once
// What a training run needs besides the shapes of a Plan. The defaults are those of DeepSeek-V3
// (technical report, arXiv 2412.19437, sections 4.2 and 2.1.2, and the public config.json), the
// learning rate apart, which belongs to the size of the model.
#include <cstdint>

namespace orrery {

struct Recipe {
  double learning_rate = 3e-3;  // for models of a few million parameters
  double beta1 = 0.9;           // 4.2
  double beta2 = 0.95;          // 4.2
  double epsilon = 1e-8;
  double weight_decay = 0.1;     // 4.2; not on norms
  double clip_norm = 1.0;        // 4.2; 0: gradients are not clipped
  double init_std = 0.02;        // DeepSeek-V3 takes 0.006 at its size
  double routed_scale = 2.5;     // config: routed_scaling_factor
  double norm_epsilon = 1e-6;    // config: rms_norm_eps
  double rope_theta = 10000;     // config: rope_theta
  double bias_rate = 1e-3;       // 4.2: gamma, speed of the routing bias
  double balance_weight = 1e-4;  // 4.2: alpha of the sequence-level balance loss
  double mtp_weight = 0.3;       // 4.2: lambda
  std::uint64_t seed = 1;        // of weights and of the order of the data
  bool operator==(const Recipe&) const = default;
};

}  // namespace orrery
