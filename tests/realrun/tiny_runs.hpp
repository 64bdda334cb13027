#pragma once
// Runs of a tiny model under any layout, and what they computed as whole tensors.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "realrun/host_run.hpp"
#include "realrun/thread_transport.hpp"
#include "realrun/whole_tensors.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"
#include "workload/random.hpp"

namespace orrery {

// DeepSeek-V3 in the smallest sizes that still have all of its parts.
inline Model tiny_model(int moe_layers = 3, int mtp = 1, int q_rank = 8) {
  Model model;
  model.name = "tiny";
  model.layers = 1 + moe_layers;
  model.dense_layers = 1;
  model.hidden = 16;
  model.dense_inter = 24;
  model.vocab = 24;
  model.mtp_depth = mtp;
  model.attention = {AttentionKind::kMla, 2, 2, q_rank, 8, 4, 4, 4};
  model.moe = {8, 1, 2, 8, 4, 2};
  return model;
}

inline Recipe tiny_recipe() {
  Recipe recipe;
  recipe.init_std = 0.2;
  recipe.learning_rate = 1e-2;
  recipe.balance_weight = 1e-2;
  recipe.bias_rate = 1e-2;
  recipe.clip_norm = 0.5;
  return recipe;
}

struct RunShape {
  const char* schedule = "1f1b";
  Layout layout;         // sizes; dp as given
  int microbatches = 4;  // of each replica
  Model model = tiny_model();
  int sequence = 8;
  bool apart = false;  // embedding and head on stages of their own
};

inline Plan tiny_plan(const RunShape& shape) {
  PlanShape plan_shape{shape.model, shape.schedule, shape.microbatches, shape.layout, shape.apart};
  Plan plan = plan_of(plan_shape);
  plan.cluster.nodes = 1;
  plan.cluster.gpus_per_node = plan.layout.gpus();
  plan.training.sequence = shape.sequence;
  plan.training.global_batch = shape.microbatches * shape.layout.dp * shape.layout.micro_batch;
  plan.training.moments = ScalarType::kFp32;
  plan.layout.precision = shape.layout.precision;
  return plan;
}

// Sequence `index` of step `step`: seeded, whatever the layout.
inline TokenSource tiny_tokens(const Model& model, std::int64_t step) {
  return [vocab = model.vocab, step](std::int64_t index, std::span<std::int32_t> tokens) {
    Random random(static_cast<std::uint64_t>(1000 * step + index));
    for (std::int32_t& token : tokens) token = random.below(vocab);
  };
}

template <class T = double>
struct TinyRun {
  explicit TinyRun(const Plan& plan_of_run, const Program& program, HostRunOptions options = {},
                   const Recipe& recipe = tiny_recipe(),
                   kernels::KernelSet<T>& set = kernels::host_kernels<T>())
      : plan(plan_of_run), transports(plan.layout.gpus()) {
    std::vector<Transport*> endpoints;
    for (int rank = 0; rank < plan.layout.gpus(); ++rank)
      endpoints.push_back(&transports.endpoint(rank));
    run = std::make_unique<HostRun<T>>(plan, program, recipe, options, endpoints, set);
  }
  explicit TinyRun(const Plan& plan_of_run, HostRunOptions options = {})
      : TinyRun(plan_of_run, lower(plan_of_run), options) {}

  StepResult step(std::int64_t number) { return run->step(tiny_tokens(plan.model, number)); }

  // Gradients (before clipping) or values of the whole model, from the parts that each rank owns.
  WholeTensors gradients() const { return whole_gradients(*run); }
  WholeTensors values() const { return whole_values(*run); }

  Plan plan;
  ThreadWorld transports;
  std::unique_ptr<HostRun<T>> run;
};

// max |a - b| / max |b| over a tensor; infinite where an element is missing.
inline double relative_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double most = 0, scale = 0;
  for (std::size_t at = 0; at < b.size(); ++at) {
    const double difference = std::abs(a[at] - b[at]);
    if (!(difference <= most)) most = std::isnan(difference) ? INFINITY : difference;
    scale = std::max(scale, std::abs(b[at]));
  }
  return scale > 0 ? most / scale : most;
}

}  // namespace orrery
