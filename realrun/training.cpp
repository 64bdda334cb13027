#include "realrun/training.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "core/error.hpp"
#include "core/hash.hpp"
#include "kernels/blas.hpp"
#include "realrun/batches.hpp"
#include "realrun/checkpoint.hpp"
#include "realrun/processors.hpp"
#include "realrun/speed_meter.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

template <class Value>
std::vector<std::byte> to_bytes(const std::vector<Value>& values) {
  const auto* first = reinterpret_cast<const std::byte*>(values.data());
  return {first, first + values.size() * sizeof(Value)};
}

// Everything that a rank's next step depends on. Parameters are whole on every rank (ZeRO-1).
template <class T>
std::vector<CheckpointEntry> entries_of(RankState<T>& rank) {
  std::vector<CheckpointEntry> entries;
  entries.push_back({"optimizer steps", to_bytes(std::vector{rank.optimizer_steps})});
  for (std::size_t group = 0; group < rank.values.size(); ++group) {
    entries.push_back({fmt::format("values {}", group), to_bytes(rank.values[group])});
    for (int moment = 0; moment < 2; ++moment) {
      const std::span<std::byte> bytes = rank.moments.bytes(group, moment);
      entries.push_back({fmt::format("moment {} {}", group, moment), {bytes.begin(), bytes.end()}});
    }
  }
  for (const auto& [unit, bias] : rank.routing_bias)
    entries.push_back({fmt::format("bias {} {}", unit.first.value, unit.second), to_bytes(bias)});
  return entries;
}

template <class T>
void restore(RankState<T>& rank, const std::vector<CheckpointEntry>& entries) {
  std::size_t next = 0;
  const auto take = [&](std::span<std::byte> into, const std::string& name) {
    if (next >= entries.size() || entries[next].name != name ||
        entries[next].data.size() != into.size()) {
      throw InputError(fmt::format("error: the checkpoint of rank {} has no '{}' of {} B", rank.gpu,
                                   name, into.size()));
    }
    std::copy(entries[next].data.begin(), entries[next].data.end(), into.begin());
    ++next;
  };
  take(std::as_writable_bytes(std::span(&rank.optimizer_steps, 1)), "optimizer steps");
  for (std::size_t group = 0; group < rank.values.size(); ++group) {
    take(std::as_writable_bytes(std::span(rank.values[group])), fmt::format("values {}", group));
    for (int moment = 0; moment < 2; ++moment)
      take(rank.moments.bytes(group, moment), fmt::format("moment {} {}", group, moment));
  }
  for (auto& [unit, bias] : rank.routing_bias) {
    take(std::as_writable_bytes(std::span(bias)),
         fmt::format("bias {} {}", unit.first.value, unit.second));
  }
}

template <class T>
class TrainingRun {
 public:
  TrainingRun(const Plan& plan, const Corpus& corpus, const TrainingOptions& options,
              const std::vector<Transport*>& transports, const TrainingCallbacks& callbacks)
      : plan_(plan),
        options_(options),
        callbacks_(callbacks),
        transports_(transports),
        program_(lower(plan)),
        run_(plan, program_, options.recipe,
             {options.cores, options.patience, options.paced, false}, transports),
        batches_(corpus.training, plan.training.sequence, run_.extra_tokens(), options.recipe.seed),
        held_out_(corpus.held_out, plan.training.sequence, run_.extra_tokens()),
        identity_(fmt::format(
            "{} seed {} scalar {} corpus {} learning rate {} bias rate {}", fingerprint(program_),
            options.recipe.seed, options.scalar == HostScalar::kFloat ? "float" : "double",
            hash_text(corpus.training), options.recipe.learning_rate, options.recipe.bias_rate)) {
    // Of several processes one reads for all.
    if (transports_.front()->rank() == 0)
      meter_.emplace(options.cores > 0 ? options.cores : usable_cores());
  }

  TrainingResult train() {
    TrainingResult result;
    std::vector<StepResult> steps;
    if (!options_.checkpoint_folder.empty()) {
      const CheckpointFolder folder(options_.checkpoint_folder);
      folder.prepare();
      // Two runs in one folder would be mixed up by the next to resume.
      if (!options_.resume && !folder.empty()) {
        throw InputError(
            fmt::format("error: {} holds checkpoints already\n  go on from them with --resume, or "
                        "give another folder",
                        options_.checkpoint_folder));
      }
    }
    const std::int64_t done = options_.resume ? resume() : 0;
    result.first_step = done + 1;
    for (std::int64_t step = done + 1; step <= options_.steps; ++step) {
      StepReport report;
      report.step = step;
      if (meter_) meter_->take();
      report.result = run_.step([&](std::int64_t index, std::span<std::int32_t> tokens) {
        batches_.fill(step, index, tokens);
      });
      if (meter_) report.result.meter = meter_->take().typical();
      // Summed over all ranks, and so the same on every one of them.
      if (!std::isfinite(report.result.gradient_norm)) {
        throw Diverged(fmt::format(
            "training has diverged: the gradient of step {} is {}; the checkpoints are of before",
            step, report.result.gradient_norm));
      }
      gather_on_first(report.result);
      result.losses.push_back(report.result.loss);
      if (due(options_.evaluate_every, step)) report.held_out = result.held_out = evaluate();
      if (callbacks_.step) callbacks_.step(report);
      if (!options_.checkpoint_folder.empty() && due(options_.checkpoint_every, step)) save(step);
      report.result.loads.step = static_cast<int>(step);
      steps.push_back(std::move(report.result));
      // The median needs every step's time, but the spans of few.
      if (steps.size() > kKept) steps.erase(steps.begin());
    }
    choose_median(steps, result);
    return result;
  }

 private:
  static constexpr std::size_t kKept = 64;

  bool due(int every, std::int64_t step) const {
    if (every < 0) return false;
    return step == options_.steps || (every > 0 && step % every == 0);
  }

  bool whole() const { return transports_.size() == static_cast<std::size_t>(run_.world().gpus()); }

  double evaluate() {
    double sum = 0;
    const std::int64_t batch = plan_.training.global_batch;
    const std::int64_t batches =
        std::clamp<std::int64_t>(held_out_.size() / batch, 1, options_.evaluations);
    for (std::int64_t number = 0; number < batches; ++number) {
      StepResult result = run_.evaluate([&](std::int64_t index, std::span<std::int32_t> tokens) {
        held_out_.fill((number * batch + index) % held_out_.size(), tokens);
      });
      gather_on_first(result);
      sum += result.loss;
    }
    return sum / static_cast<double>(batches);
  }

  // Losses, spans and loads of the other processes; nothing to do in one.
  void gather_on_first(StepResult& result);

  void save(std::int64_t step) {
    const CheckpointFolder folder(options_.checkpoint_folder);
    for (const auto& rank : run_.ranks()) folder.write_rank(step, rank->gpu, entries_of(*rank));
    if (!whole()) gather(*transports_.front(), {});  // rank 0 goes on when all have written
    if (transports_.front()->rank() == 0) folder.complete(step, run_.world().gpus(), identity_);
  }

  std::int64_t resume() {
    const CheckpointFolder folder(options_.checkpoint_folder);
    std::ostringstream log;
    const std::optional<Checkpoint> found = folder.newest_valid(log);
    if (callbacks_.note && !log.str().empty()) callbacks_.note(log.str());
    if (!found) {
      if (callbacks_.note) callbacks_.note("no checkpoint to resume from: starting at step 1");
      return 0;
    }
    if (found->identity != identity_ || found->ranks != run_.world().gpus()) {
      throw InputError(
          fmt::format("error: {} holds checkpoints of another run\n  they are of '{}' "
                      "with {} ranks, this is '{}' with {}\n  give another folder, or "
                      "the plan and options that they were made with",
                      options_.checkpoint_folder, found->identity, found->ranks, identity_,
                      run_.world().gpus()));
    }
    for (const auto& rank : run_.ranks()) restore(*rank, folder.read_rank(found->step, rank->gpu));
    if (callbacks_.note) callbacks_.note(fmt::format("resumed after step {}", found->step));
    return found->step;
  }

  void choose_median(std::vector<StepResult>& steps, TrainingResult& result) const {
    if (steps.empty()) return;
    const std::size_t skip = steps.size() > kWarmUpSteps ? kWarmUpSteps : 0;
    std::vector<std::size_t> order;
    for (std::size_t step = skip; step < steps.size(); ++step) {
      order.push_back(step);
      result.run.steps.push_back(steps[step].timeline.step);
    }
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return steps[a].timeline.step < steps[b].timeline.step;
    });
    result.median = std::move(steps[order[(order.size() - 1) / 2]]);
    RunRecord& run = result.run;
    run.pace = options_.pace;
    run.cores = options_.cores > 0 ? options_.cores : usable_cores();
    run.scalar = options_.scalar == HostScalar::kFloat ? "float" : "double";
    run.machine = machine_fingerprint();
    run.cpu = result.median.process_cpu;
    run.meter = result.median.meter;
    run.work = result.median.work;
    if (options_.paced != nullptr) {
      for (const Instruction& instruction : run_.world().program.instructions)
        run.lasts.push_back(options_.paced->at(instruction).lasts);
    }
    for (std::int64_t bytes : result.median.peak_bytes)
      run.peak_bytes.push_back(static_cast<double>(bytes));
  }

  const Plan& plan_;
  const TrainingOptions& options_;
  const TrainingCallbacks& callbacks_;
  std::vector<Transport*> transports_;
  Program program_;
  HostRun<T> run_;
  Batches batches_;
  HeldOutWindows held_out_;
  std::string identity_;
  std::optional<SpeedMeter> meter_;
};

// A process's part of a step as plain numbers: losses, then spans and CPU times by instruction,
// then loads.
template <class T>
void TrainingRun<T>::gather_on_first(StepResult& result) {
  if (whole()) return;
  const std::size_t count = result.timeline.spans.size();
  const Seconds offset = result.clock_start;
  std::vector<double> own = {result.loss, result.mtp_loss, result.balance_loss,
                             static_cast<double>(result.peak_bytes.front()),
                             result.process_cpu.value()};
  for (std::size_t id = 0; id < count; ++id) {
    const Span& span = result.timeline.spans[id];
    const bool mine = span.end.value() > 0;
    own.push_back(mine ? (span.start + offset).value() : -1);
    own.push_back(mine ? (span.end + offset).value() : -1);
    own.push_back(result.work[id].value());
  }
  own.insert(own.end(), result.loads.row_counts.begin(), result.loads.row_counts.end());
  for (const auto& layer : result.loads.experts) own.insert(own.end(), layer.begin(), layer.end());
  const auto blobs = gather(*transports_.front(), std::as_bytes(std::span(own)));
  if (blobs.empty()) return;
  result.loss = result.mtp_loss = result.balance_loss = 0;
  result.process_cpu = Seconds{};  // of all processes together
  result.peak_bytes.clear();
  std::fill(result.loads.row_counts.begin(), result.loads.row_counts.end(), 0);
  for (auto& layer : result.loads.experts) std::fill(layer.begin(), layer.end(), 0);
  std::vector<Span> spans(count);
  for (const auto& blob : blobs) {
    std::vector<double> values(blob.size() / sizeof(double));
    std::memcpy(values.data(), blob.data(), blob.size());
    const double* at = values.data();
    result.loss += *at++;
    result.mtp_loss += *at++;
    result.balance_loss += *at++;
    result.peak_bytes.push_back(static_cast<std::int64_t>(*at++));
    result.process_cpu += Seconds{*at++};
    for (std::size_t id = 0; id < count; ++id, at += 3) {
      if (at[1] < 0) continue;
      spans[id] = {Seconds{at[0]}, Seconds{at[1]}};
      result.work[id] = Seconds{at[2]};
    }
    for (double& rows : result.loads.row_counts) rows += *at++;
    for (auto& layer : result.loads.experts) {
      for (double& rows : layer) rows += *at++;
    }
  }
  set_spans(result.timeline, std::move(spans));
}

}  // namespace

std::string machine_fingerprint() {
  std::string model = "unknown CPU";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const std::size_t colon = line.find(':');
    if (colon != std::string::npos && colon + 2 <= line.size()) model = line.substr(colon + 2);
    break;
  }
  const int cores = usable_cores();
  return fmt::format("{}, {} core{}, BLAS: {}", model, cores, cores == 1 ? "" : "s",
                     kernels::blas_name());
}

TrainingResult train(const Plan& plan, const Corpus& corpus, const TrainingOptions& options,
                     const std::vector<Transport*>& transports,
                     const TrainingCallbacks& callbacks) {
  if (options.scalar == HostScalar::kDouble)
    return TrainingRun<double>(plan, corpus, options, transports, callbacks).train();
  return TrainingRun<float>(plan, corpus, options, transports, callbacks).train();
}

}  // namespace orrery
