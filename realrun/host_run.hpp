#pragma once
// A training run on the host: all ranks of a plan, as threads of this process or, under MPI, this
// process's rank alone. One call is one step.
//
//   HostRun<float> run(plan, recipe, options, transports);
//   for (int step = 0; step < steps; ++step) StepResult result = run.step(tokens_of(step));
//
// Everything is deterministic but the clock: sums are taken in the order of groups, gradients in
// the order of the schedule, so the same plan and seed give the same bits on every run.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/plan.hpp"
#include "kernels/host_kernels.hpp"
#include "realrun/batches.hpp"
#include "realrun/rank_worker.hpp"
#include "workload/loads.hpp"
#include "workload/world.hpp"

namespace orrery {

struct HostRunOptions {
  int cores = 0;                           // used at once; 0: those of the machine
  Seconds patience{20};                    // of the watchdog
  const InstructionTimes* pace = nullptr;  // of the world's Program; null: unpaced
  bool time_ops = false;
  // What times them; null: the clock of the thread that runs them, and neither ops without anything
  // to do on the host nor the optimizer.
  OpTimer* timer = nullptr;
};

struct StepResult {
  double loss = 0;      // mean over the tokens of the global batch, nats
  double mtp_loss = 0;  // the same of the MTP module; 0 without
  double balance_loss = 0;
  double gradient_norm = 0;
  Timeline timeline;          // of the world's Program
  Seconds clock_start;        // of the transport's clock, where the timeline starts
  Seconds meter;              // what a SpeedMeter read on average meanwhile; 0: nothing
  Seconds process_cpu;        // CPU time of the whole process in the step, over MPI of all of them
  std::vector<Seconds> work;  // CPU time, by instruction
  std::vector<std::int64_t> peak_bytes;  // of activations and messages, by rank since the start
  Loads loads;
  // What each rank carried out, by stream, in order.
  std::vector<std::array<std::vector<InstructionId>, kStreams>> carried_out;
  std::vector<OpSample> samples;  // with time_ops
};

// Fills a sequence of the step's global batch: sequence + 1 + mtp_depth token ids.
using TokenSource = std::function<void(std::int64_t sequence_index, std::span<std::int32_t>)>;

template <class T>
class HostRun {
 public:
  // `program` is what lower(plan) gives (or a mutation of it, in tests). `transports`: those of the
  // ranks that this process runs; they outlive the run.
  // `set`: the kernels of all ranks, likewise.
  HostRun(const Plan& plan, const Program& program, const Recipe& recipe,
          const HostRunOptions& options, std::vector<Transport*> transports,
          kernels::KernelSet<T>& set = kernels::host_kernels<T>());
  ~HostRun();

  // Throws ProgramError with all that failed. Afterwards the run is over.
  StepResult step(const TokenSource& tokens);
  // The same without any update: the losses on those tokens.
  StepResult evaluate(const TokenSource& tokens);
  // From the next step on; null: as it is.
  void set_pace(const InstructionTimes* pace) { options_.pace = pace; }
  const World& world() const { return world_; }
  std::vector<std::unique_ptr<RankState<T>>>& ranks() { return ranks_; }
  int extra_tokens() const { return 1 + plan_.model.mtp_depth; }

 private:
  std::vector<MicrobatchTokens> tokens_of(const RankState<T>& rank,
                                          const TokenSource& tokens) const;
  Loads count_loads() const;
  void collect(StepResult& result, const Measurement& measurement) const;

  Plan plan_;
  World world_;
  HostRunOptions options_;
  std::vector<Transport*> transports_;
  CoreGate gate_;
  std::vector<std::unique_ptr<RankState<T>>> ranks_;
};

// Spans of one clock as a timeline that starts at 0; returns what was the start. Spans that end at
// 0 belong to ranks of other processes and stay.
Seconds set_spans(Timeline& timeline, std::vector<Span> spans);

// Sequences a step, and those of `rank`'s micro-batch: data-parallel replicas take consecutive
// micro-batches.
std::int64_t sequence_index(const Plan& plan, const GpuPlace& place, int microbatch, int sequence);

extern template class HostRun<float>;
extern template class HostRun<double>;

}  // namespace orrery
