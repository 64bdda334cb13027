#include "realrun/sample_run.hpp"

#include "core/stage_map.hpp"
#include "planner/plan_builder.hpp"
#include "planner/schedules/families.hpp"
#include "realrun/batches.hpp"
#include "realrun/corpus.hpp"
#include "realrun/speed_meter.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

std::vector<Transport*> endpoints(ThreadWorld& threads, int ranks) {
  std::vector<Transport*> all;
  for (int rank = 0; rank < ranks; ++rank) all.push_back(&threads.endpoint(rank));
  return all;
}

}  // namespace

Plan sample_plan(const Model& model, int sequence, const SampleLayout& sizes) {
  constexpr int kMicrobatches = 2;
  Plan plan;
  plan.model = model;
  plan.layout.pp = sizes.pp;
  plan.layout.dp = sizes.dp;
  plan.layout.ep = sizes.ep;
  plan.layout.tp = sizes.tp;
  plan.layout.precision = Precision::kBf16;
  plan.layout.zero_stage = sizes.zero;
  const std::vector<LayerKind> entries = model_entries(model);
  const auto stages = static_cast<std::size_t>(sizes.pp);
  for (std::size_t stage = 0; stage < stages; ++stage) {
    const auto at = [&](std::size_t number) {
      return entries.begin() + static_cast<std::ptrdiff_t>(number * entries.size() / stages);
    };
    plan.layout.stage_map.emplace_back(at(stage), at(stage + 1));
  }
  plan.cluster.nodes = 1;
  plan.cluster.gpus_per_node = plan.layout.gpus();
  plan.cluster.fabric.kind = FabricKind::kHost;
  plan.training.sequence = sequence;
  plan.training.global_batch = kMicrobatches * sizes.dp;
  plan.schedule = make_schedule("1f1b", sizes.pp, kMicrobatches);
  return plan;
}

template <class T>
SampleRun<T>::SampleRun(const Plan& plan, const HostRunOptions& options)
    : plan_(plan),
      text_(make_corpus(7, 1 << 16)),
      threads_(std::make_unique<ThreadWorld>(plan.layout.gpus())),
      epoch_(SpeedMeter::now() - threads_->endpoint(0).now()),
      run_(std::make_unique<HostRun<T>>(plan_, lower(plan_), Recipe{}, options,
                                        endpoints(*threads_, plan_.layout.gpus()))) {}

template <class T>
StepResult SampleRun<T>::step() {
  const Batches batches(text_, plan_.training.sequence, run_->extra_tokens(), 1);
  const std::int64_t number = steps_++;
  return run_->step([&](std::int64_t index, std::span<std::int32_t> tokens) {
    batches.fill(number, index, tokens);
  });
}

template class SampleRun<float>;
template class SampleRun<double>;

}  // namespace orrery
