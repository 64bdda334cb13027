#include "realrun/host_run.hpp"

#include <algorithm>
#include <atomic>
#include <future>
#include <thread>

#include "core/error.hpp"
#include "realrun/cpu_clock.hpp"
#include "realrun/kept_memory.hpp"
#include "realrun/optimizer.hpp"
#include "realrun/processors.hpp"
#include "workload/loaded_program.hpp"

namespace orrery {
namespace {

int cores_of(const HostRunOptions& options) {
  return options.cores > 0 ? options.cores : usable_cores();
}

// Nothing of a step may be left when it is over.
template <class T>
void check_freed(RankState<T>& rank) {
  const auto check = [&](const Lifetime& lifetime, const std::string& where) {
    if (lifetime.live())
      throw ProgramError(
          fmt::format("rank {}: {} of {} were never freed", rank.gpu, lifetime.what(), where));
  };
  rank.for_each_frame([&](const Frame<T>& frame) {
    const std::string where = fmt::format("micro-batch {}, {}", frame.microbatch.value,
                                          unit_name(rank.plan.layout, frame.stage, frame.layer));
    check(frame.until_input, where);
    check(frame.until_weight, where);
    check(frame.operands, where);
  });
  rank.for_each_inbox([&](const auto& inbox) { check(inbox.lifetime, "another stage"); });
}

}  // namespace

std::int64_t sequence_index(const Plan& plan, const GpuPlace& place, int microbatch, int sequence) {
  const std::int64_t number = std::int64_t{place.data} * plan.schedule.microbatches + microbatch;
  return number * plan.layout.micro_batch + sequence;
}

template <class T>
HostRun<T>::HostRun(const Plan& plan, const Program& program, const Recipe& recipe,
                    const HostRunOptions& options, std::vector<Transport*> transports,
                    kernels::KernelSet<T>& set)
    : plan_(plan),
      world_(expand(program, plan_.layout)),
      options_(options),
      transports_(std::move(transports)),
      gate_(cores_of(options)) {
  keep_freed_memory();
  for (Transport* transport : transports_) {
    ORRERY_CHECK(transport->size() == world_.gpus(), "{} ranks for a plan of {} GPUs",
                 transport->size(), world_.gpus());
  }
  // To draw the first weights takes as long as some steps of training: on all cores.
  ranks_.resize(transports_.size());
  std::atomic<std::size_t> next = 0;
  const auto make = [&] {
    for (std::size_t rank = next++; rank < ranks_.size(); rank = next++)
      ranks_[rank] = std::make_unique<RankState<T>>(plan_, recipe, transports_[rank]->rank(), set);
  };
  std::vector<std::future<void>> others;
  while (others.size() + 1 < std::min(ranks_.size(), static_cast<std::size_t>(cores_of(options))))
    others.push_back(std::async(std::launch::async, make));
  make();
  for (std::future<void>& other : others) other.get();
}

template <class T>
HostRun<T>::~HostRun() = default;

template <class T>
std::vector<MicrobatchTokens> HostRun<T>::tokens_of(const RankState<T>& rank,
                                                    const TokenSource& source) const {
  const auto length = static_cast<std::size_t>(plan_.training.sequence);
  std::vector<std::int32_t> sequence(length + static_cast<std::size_t>(extra_tokens()));
  std::vector<MicrobatchTokens> all(static_cast<std::size_t>(plan_.schedule.microbatches));
  for (std::size_t microbatch = 0; microbatch < all.size(); ++microbatch) {
    MicrobatchTokens& tokens = all[microbatch];
    for (int number = 0; number < plan_.layout.micro_batch; ++number) {
      source(sequence_index(plan_, rank.place, static_cast<int>(microbatch), number), sequence);
      const auto add = [&](std::vector<std::int32_t>& to, std::size_t shift) {
        const auto first = sequence.begin() + static_cast<std::ptrdiff_t>(shift);
        to.insert(to.end(), first, first + static_cast<std::ptrdiff_t>(length));
      };
      add(tokens.inputs, 0);
      add(tokens.targets, 1);
      if (plan_.model.mtp_depth > 0) add(tokens.mtp_targets, 2);
    }
  }
  return all;
}

template <class T>
StepResult HostRun<T>::evaluate(const TokenSource& source) {
  for (const auto& rank : ranks_) rank->evaluates = true;
  StepResult result = step(source);
  for (const auto& rank : ranks_) rank->evaluates = false;
  return result;
}

template <class T>
StepResult HostRun<T>::step(const TokenSource& source) {
  const Program& program = world_.program;
  Measurement measurement(program.instructions.size());
  std::vector<std::vector<OpSample>> samples(ranks_.size());
  Seconds process_cpu;
  RunControl control;
  std::vector<std::unique_ptr<RankWorker<T>>> workers;
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    ranks_[rank]->begin_step(tokens_of(*ranks_[rank], source));
    workers.push_back(std::make_unique<RankWorker<T>>(
        program, *ranks_[rank], *transports_[rank], gate_, control, options_.pace, measurement,
        options_.time_ops ? &samples[rank] : nullptr, options_.timer));
  }
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    control.on_failure(
        [worker = workers[rank].get(), transport = transports_[rank]](const std::string& why) {
          worker->stop();
          transport->abort(why);
        });
  }
  {
    const Watchdog watchdog(control, options_.patience, [&workers] {
      std::string text;
      for (const auto& worker : workers) text += worker->describe_wait();
      return text;
    });
    const double before = process_cpu_seconds();
    std::vector<std::thread> threads;
    for (const auto& worker : workers) {
      threads.emplace_back([&worker] { worker->communicate(); });
      threads.emplace_back([&worker] { worker->compute(); });
    }
    for (std::thread& thread : threads) thread.join();
    process_cpu = Seconds{process_cpu_seconds() - before};
  }
  if (control.failed()) throw ProgramError(control.why());
  for (const auto& rank : ranks_) {
    check_freed(*rank);
    check_gathered(*rank);
  }
  StepResult result;
  result.process_cpu = process_cpu;
  for (const auto& worker : workers) result.carried_out.push_back(worker->carried_out());
  for (std::vector<OpSample>& own : samples)
    result.samples.insert(result.samples.end(), own.begin(), own.end());
  collect(result, measurement);
  return result;
}

// Rows of every micro-batch and layer, by GPU within its pipeline rank. Layers of ranks that other
// processes run are left at zero.
template <class T>
Loads HostRun<T>::count_loads() const {
  Loads loads;
  loads.model = plan_.model.name;
  loads.pp = plan_.layout.pp;
  loads.ep = plan_.layout.ep;
  loads.dp = plan_.layout.dp;
  loads.microbatches = plan_.schedule.microbatches;
  loads.ranks = world_.gpus_per_rank;
  for (int layer = plan_.model.dense_layers; layer < plan_.model.layers + plan_.model.mtp_depth;
       ++layer)
    loads.layers.push_back(layer);
  if (plan_.model.moe.experts == 0) loads.layers.clear();
  const std::size_t layers = loads.layers.size();
  const auto gpus = static_cast<std::size_t>(loads.ranks);
  loads.row_counts.assign(static_cast<std::size_t>(loads.microbatches) * layers * gpus, 0);
  loads.experts.assign(layers,
                       std::vector<double>(static_cast<std::size_t>(plan_.model.moe.experts), 0));
  for (const auto& rank : ranks_) {
    rank->for_each_frame([&](const Frame<T>& frame) {
      if (frame.offsets.empty()) return;
      const auto layer = static_cast<std::size_t>(
          model_layer(plan_.layout, plan_.model, frame.stage, frame.layer) -
          plan_.model.dense_layers);
      const std::size_t at = (frame.microbatch.index() * layers + layer) * gpus +
                             static_cast<std::size_t>(rank->gpu % loads.ranks);
      loads.row_counts[at] = static_cast<double>(frame.offsets.back());
      for (std::size_t expert = 0; expert < frame.expert_counts.size(); ++expert)
        loads.experts[layer][expert] += static_cast<double>(frame.expert_counts[expert]);
    });
  }
  return loads;
}

template <class T>
void HostRun<T>::collect(StepResult& result, const Measurement& measurement) const {
  const double tokens = plan_.training.tokens_per_step();
  for (const auto& rank : ranks_) {
    rank->for_each_frame([&](const Frame<T>& frame) {
      (frame.kind == LayerKind::kMtp ? result.mtp_loss : result.loss) += frame.loss / tokens;
      result.balance_loss += frame.balance_loss * rank->sequence_scale;
    });
    result.gradient_norm = rank->gradient_norm;
    result.peak_bytes.push_back(rank->meter.peak());
  }
  result.loads = count_loads();
  Timeline& timeline = result.timeline;
  timeline.source = "host";
  timeline.gpus = timeline.rank_classes = world_.gpus();
  timeline.activities = static_cast<long>(measurement.spans.size());
  result.clock_start = set_spans(timeline, measurement.spans);
  result.work = measurement.work;
}

Seconds set_spans(Timeline& timeline, std::vector<Span> spans) {
  std::optional<Seconds> first;
  for (const Span& span : spans) {
    if (span.end.value() > 0) first = first ? std::min(*first, span.start) : span.start;
  }
  const Seconds start = first.value_or(Seconds{});
  timeline.step = Seconds{};
  for (Span& span : spans) {
    if (span.end.value() <= 0) continue;
    span.start -= start;
    span.end -= start;
    timeline.step = std::max(timeline.step, span.end);
  }
  timeline.spans = std::move(spans);
  return start;
}

template class HostRun<float>;
template class HostRun<double>;

}  // namespace orrery
