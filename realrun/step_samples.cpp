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
void StepSamples::add(const Program& program, const StepResult& result, Seconds unit) {
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
    times.units.push_back(std::max(0.0, time) / unit.value());
    times.scale.push_back(scale_of(work, op, sample));
  }
  add_instructions(program, result, unit);
}

// What instructions take beside their ops, the optimizer, and the exchanges.
void StepSamples::add_instructions(const Program& program, const StepResult& result, Seconds unit) {
  std::map<InstructionId, Seconds> in_ops;
  for (const OpSample& sample : result.samples) in_ops[sample.instruction] += sample.time;
  for (const Instruction& instruction : program.instructions) {
    const Work& work = program.work(instruction);
    const Seconds time = result.work[instruction.id.index()];
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
  const std::vector<CriticalStep> path = critical_path(program, result.timeline, cores);
  for (std::size_t place = 1; place < path.size(); ++place) {
    const Instruction& own = program.instructions[path[place].instruction.index()];
    const Instruction& before = program.instructions[path[place - 1].instruction.index()];
    const bool computes = program.work(own).is_compute();
    const bool computed = program.work(before).is_compute();
    const double waited = path[place].waited.value();
    if (computes && computed && own.rank != before.rank) hand_overs_.push_back(waited);
    if (computes != computed) wakes_.push_back(waited);
  }
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

template void StepSamples::add<float>(const Program&, const StepResult&, Seconds);
template void StepSamples::add<double>(const Program&, const StepResult&, Seconds);

}  // namespace orrery
