#pragma once
// Published figures of a training run, and whether a plan is that run.
#include <optional>
#include <string>
#include <vector>

#include "core/plan.hpp"

namespace orrery {

struct PublishedStep {
  double F_s = 0, bubble_s = 0, I_s = 0, W_s = 0, FB_s = 0, optimizer_s = 0, step_s = 0;
  double tokens_per_day_b = 0;                       // billions
  double tflops_causal = 0, tflops_noncausal = 0;    // a GPU
  double mfu_causal_pct = 0, mfu_noncausal_pct = 0;  // against the BF16 peak
  double gpu_hours_per_t_k = 0;                      // thousands of GPU-hours a trillion tokens
};

struct PublishedPair {
  double wall_ms = 0, compute_busy_ms = 0, compute_idle_ms = 0;
  double notify_ms = 0;  // a layer: exchanges wait for other GPUs before they move bytes
  std::vector<double> slots_ms;
};

struct PublishedRun {
  std::string model, schedule;
  int gpus = 0, pp = 0, ep = 0, sequence = 0, global_batch = 0;
  PublishedStep step;
  PublishedPair pair;
};

PublishedRun read_published(const std::string& path);

// reports/published/deepseek-v3.toml of the data root, if this plan is what it is about.
std::optional<PublishedRun> published_for(const Plan& plan);

}  // namespace orrery
