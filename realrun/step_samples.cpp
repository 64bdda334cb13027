#include "realrun/step_samples.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>

#include "realrun/cpu_clock.hpp"
#include "realrun/host_ops.hpp"
#include "sim/critical_path.hpp"

namespace orrery {
namespace {

// Shorter than any clock resolves.
constexpr double kLeastSeconds = 1e-8;

// What took several times as long was interrupted by something that is no part of it.
constexpr double kStray = 5;

// No core takes so long to change hands: the system stopped it.
constexpr double kStopped = 1e-3;

double quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

double mean_without_strays(const std::vector<double>& sorted) {
  const auto end = std::upper_bound(sorted.begin(), sorted.end(), kStray * quantile(sorted, 0.5));
  return std::accumulate(sorted.begin(), end, 0.0) / static_cast<double>(end - sorted.begin());
}

MeasuredTime measured(std::vector<double> units, Seconds unit) {
  std::sort(units.begin(), units.end());
  const auto time = [unit](double value) {
    return Seconds{rounded(std::max(value * unit.value(), kLeastSeconds))};
  };
  return {time(quantile(units, 0.1)), time(quantile(units, 0.5)), time(quantile(units, 0.9)),
          static_cast<int>(units.size()), time(mean_without_strays(units))};
}

// Rows seen over even rows, where the op handles the rows of the experts.
double scale_of(const Work& work, const Op& op, const OpSample& sample) {
  if (sample.rows <= 0) return 1;
  for (const Op& other : work.ops) {
    const bool wgrad = other.kernel == KernelClass::kGroupedWgrad;
    if (!wgrad && other.kernel != KernelClass::kGroupedGemm) continue;
    const double even = wgrad ? other.k * other.groups : other.m;
    const bool of_rows = op.kernel == KernelClass::kGroupedWgrad || std::abs(op.m - even) < 0.5;
    return of_rows ? sample.rows / even : 1;
  }
  return 1;
}

}  // namespace

double rounded(double value) {
  return std::strtod(fmt::format("{:.4g}", value).c_str(), nullptr);
}

double mean_of(std::vector<double> samples) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  return mean_without_strays(samples);
}

double median_of(std::vector<double> samples) {
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  return quantile(samples, 0.5);
}

StepSamples::OpKey StepSamples::key_of(const Work& work, const Op& op) {
  return {host_op_name(op.name, work.pass), op.kernel, op.m, op.n, op.k, op.groups, op.amount()};
}

template <class T>
void StepSamples::add(const Program& program, const StepResult& result,
                      const std::vector<Seconds>& units) {
  for (const Work& work : program.works) {
    if (!work.is_compute() || work.component == Component::kOptimizer) continue;
    for (const Op& op : work.ops) {
      if (host_op<T>(work.component, work.pass, op) == nullptr)
        without_work_.insert(host_op_name(op.name, work.pass));
    }
  }
  for (const OpSample& sample : result.samples) {
    const Work& work = program.works[sample.work.index()];
    const Op& op = work.ops[static_cast<std::size_t>(sample.op)];
    OpTimes& times = ops_[key_of(work, op)];
    const double time = sample.time.value() - thread_clock_cost();
    times.units.push_back(std::max(0.0, time) / units[sample.instruction.index()].value());
    times.scale.push_back(scale_of(work, op, sample));
  }
  add_instructions(program, result, units);
}

// What instructions take beside their ops, the optimizer, and the exchanges.
void StepSamples::add_instructions(const Program& program, const StepResult& result,
                                   const std::vector<Seconds>& units) {
  std::map<InstructionId, Seconds> in_ops;
  for (const OpSample& sample : result.samples) in_ops[sample.instruction] += sample.time;
  for (const Instruction& instruction : program.instructions) {
    const Work& work = program.work(instruction);
    const Seconds time = result.work[instruction.id.index()];
    const Seconds unit = units[instruction.id.index()];
    if (work.component == Component::kOptimizer) {
      OpTimes& times = ops_[key_of(work, work.ops.front())];
      times.units.push_back(time / unit);
      times.scale.push_back(1);
    } else if (work.is_compute()) {
      const auto ops = in_ops.find(instruction.id);
      if (ops != in_ops.end()) beside_.push_back(std::max(0.0, (time - ops->second) / unit));
    } else if (work.wire.logical.value() >= 1) {
      // A message counts once, with what it cost both sides.
      const bool sends =
          instruction.stream == Stream::kSendNext || instruction.stream == Stream::kSendPrev;
      if (sends) continue;
      const Seconds other =
          instruction.partner.valid() ? result.work[instruction.partner.index()] : Seconds{};
      transfers_[{work.wire.pattern, work.wire.group, work.wire.logical.value()}].push_back(
          (time + other) / unit);
    }
  }
}

void StepSamples::add_changes(const Program& program, const StepResult& result, int cores) {
  add_hand_overs(program, result.timeline, cores);
  const std::vector<CriticalStep> path = critical_path(program, result.timeline, cores);
  for (std::size_t place = 1; place < path.size(); ++place) {
    const Instruction& own = program.instructions[path[place].instruction.index()];
    const Instruction& before = program.instructions[path[place - 1].instruction.index()];
    if (program.work(own).is_compute() != program.work(before).is_compute())
      wakes_.push_back(path[place].waited.value());
  }
}

namespace {

// When any communication was under way.
class Communicating {
 public:
  Communicating(const Program& program, const Timeline& timeline) {
    for (const Instruction& instruction : program.instructions) {
      if (instruction.stream != Stream::kCompute) spans_.push_back(timeline.at(instruction.id));
    }
    std::sort(spans_.begin(), spans_.end(),
              [](const Span& a, const Span& b) { return a.start < b.start; });
    // The end becomes that of the last to end so far.
    for (std::size_t place = 1; place < spans_.size(); ++place)
      spans_[place].end = std::max(spans_[place].end, spans_[place - 1].end);
  }
  bool between(Seconds from, Seconds to) const {
    const auto after = std::partition_point(spans_.begin(), spans_.end(),
                                            [to](const Span& each) { return each.start < to; });
    return after != spans_.begin() && std::prev(after)->end > from;
  }

 private:
  std::vector<Span> spans_;
};

}  // namespace

void StepSamples::add_hand_overs(const Program& program, const Timeline& timeline, int cores) {
  std::vector<InstructionId> before(program.instructions.size());
  for (const auto& rank : program.streams) {
    const auto& order = rank[static_cast<std::size_t>(Stream::kCompute)];
    for (std::size_t place = 1; place < order.size(); ++place)
      before[order[place].index()] = order[place - 1];
  }
  const auto ready = [&](const Instruction& instruction) {
    const InstructionId own = before[instruction.id.index()];
    Seconds latest = own.valid() ? timeline.at(own).end : Seconds{};
    for (InstructionId id : program.deps_of(instruction))
      latest = std::max(latest, timeline.at(id).end);
    return latest;
  };
  const Communicating communicating(program, timeline);
  std::vector<std::vector<const Instruction*>> orders(static_cast<std::size_t>(cores));
  for (const Instruction& instruction : program.instructions) {
    if (instruction.stream == Stream::kCompute)
      orders[instruction.rank.index() % orders.size()].push_back(&instruction);
  }
  for (auto& order : orders) {
    std::sort(order.begin(), order.end(), [&](const Instruction* a, const Instruction* b) {
      return timeline.at(a->id).start < timeline.at(b->id).start;
    });
    for (std::size_t place = 1; place < order.size(); ++place) {
      const Seconds free = timeline.at(order[place - 1]->id).end;
      const Seconds taken = timeline.at(order[place]->id).start;
      if (order[place]->rank == order[place - 1]->rank || ready(*order[place]) > free ||
          communicating.between(free, taken))
        continue;
      // Who ends reads the clock when the core is already another's.
      hand_overs_.push_back(std::max(0.0, (taken - free).value()));
    }
  }
}

Seconds StepSamples::hand_over() const {
  double sum = 0;
  std::size_t count = 0;
  for (const double each : hand_overs_) {
    if (each > kStopped) continue;
    sum += each;
    ++count;
  }
  return Seconds{count > 0 ? sum / static_cast<double>(count) : 0};
}

// Rows of the experts vary from one micro-batch to the next: the row is at their mean.
HostKernelRow StepSamples::row_of(const OpKey& key, const OpTimes& times, Seconds unit) {
  const double scale = mean_of(times.scale);
  const bool scales_k = key.kernel == KernelClass::kGroupedWgrad;
  const auto scaled = [scale](double size) { return std::max(1.0, rounded(size * scale)); };
  HostKernelRow row;
  row.op = key.name;
  row.kernel = key.kernel;
  row.m = scales_k ? key.m : scaled(key.m);
  row.n = key.n;
  row.k = scales_k ? scaled(key.k) : key.k;
  row.groups = key.groups;
  if (kernel_kind(key.kernel) == KernelKind::kStreaming) row.amount = rounded(key.amount * scale);
  row.time = measured(times.units, unit);
  return row;
}

std::vector<HostKernelRow> StepSamples::kernels(Seconds unit) const {
  std::vector<HostKernelRow> rows;
  for (const auto& [key, times] : ops_) rows.push_back(row_of(key, times, unit));
  return rows;
}

std::vector<HostTransferRow> StepSamples::transfers(Seconds unit) const {
  std::vector<HostTransferRow> rows;
  for (const auto& [key, units] : transfers_)
    rows.push_back({key.pattern, key.group, Bytes{key.bytes}, measured(units, unit)});
  return rows;
}

template void StepSamples::add<float>(const Program&, const StepResult&,
                                      const std::vector<Seconds>&);
template void StepSamples::add<double>(const Program&, const StepResult&,
                                       const std::vector<Seconds>&);

}  // namespace orrery
