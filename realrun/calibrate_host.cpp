#include "realrun/calibrate_host.hpp"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "core/error.hpp"
#include "kernels/gemm.hpp"
#include "realrun/host_latencies.hpp"
#include "realrun/sample_run.hpp"

namespace orrery {
namespace {

// To four digits, which is more than any of it is worth and reads well.
double rounded(double value) {
  if (value <= 0) return 0;
  const double unit = std::pow(10, std::floor(std::log10(value)) - 3);
  return std::round(value / unit) * unit;
}

MeasuredTime measured(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const auto at = [&](double share) {
    return Seconds{rounded(
        samples[static_cast<std::size_t>(share * static_cast<double>(samples.size() - 1))])};
  };
  MeasuredTime time{at(0.1), at(0.5), at(0.9), static_cast<int>(samples.size())};
  // What took several times as long was interrupted by something that is no part of it.
  constexpr double kStray = 5;
  const auto end = std::upper_bound(samples.begin(), samples.end(), kStray * time.median.value());
  time.mean = Seconds{rounded(std::accumulate(samples.begin(), end, 0.0) /
                              static_cast<double>(end - samples.begin()))};
  return time;
}

// 0 where there are no samples.
double mean(std::vector<double> samples) {
  if (samples.empty()) return 0;
  return measured(std::move(samples)).mean.value();
}

double median(std::vector<double> samples) {
  if (samples.empty()) return 0;
  return measured(std::move(samples)).median.value();
}

// All that one op was measured at, by shape.
struct OpKey {
  std::string name;
  KernelClass kernel = KernelClass::kGemm;
  double m = 0, n = 0, k = 0;
  int groups = 1;
  double amount = 0;
  auto operator<=>(const OpKey&) const = default;
};

struct OpSamples {
  std::vector<double> seconds;
  std::vector<double> scale;  // rows seen over the even rows that the shape counts
};

struct TransferKey {
  Pattern pattern = Pattern::kSend;
  int group = 1;
  double bytes = 0;
  auto operator<=>(const TransferKey&) const = default;
};

// One rank; two stages; pairs and fours that exchange tokens; replicas; tensor parallelism.
constexpr SampleLayout kLayouts[] = {{1, 1, 1, 1}, {2, 1, 1, 1}, {1, 2, 2, 1},
                                     {1, 4, 4, 1}, {1, 2, 1, 1}, {1, 1, 1, 2}};

bool divides(const Model& model, const SampleLayout& sizes) {
  return model.moe.experts % sizes.ep == 0 && model.attention.heads % sizes.tp == 0 &&
         model.vocab % sizes.tp == 0;
}

template <class T>
class Calibrator {
 public:
  Calibrator(const HostCalibrationOptions& options, int cores)
      : options_(options), probe_(options.models.front(), cores) {
    std::vector<double> seconds;
    constexpr int kFirst = 9;
    for (int run = 0; run < kFirst; ++run) seconds.push_back(probe_.measure().value());
    reference_ = median(std::move(seconds));
  }

  // Runs the layout and takes all its samples; returns CPU seconds of its computation. All times
  // are stated at the speed that the machine had when the calibrator was made.
  double measure(const Plan& plan, int cores, bool take) {
    SampleRun<T> run(plan, cores, true);
    run.step();  // pays for memory and caches
    std::vector<double> totals;
    Seconds before = probe_.measure();
    for (int step = 0; step < options_.steps; ++step) {
      StepResult result = run.step();
      const Seconds after = probe_.measure();
      const double speed = reference_ / (0.5 * (before + after).value());
      before = after;
      for (OpSample& sample : result.samples) sample.time = sample.time * speed;
      for (Seconds& work : result.work) work = work * speed;
      double total = 0;
      for (const OpSample& sample : result.samples) total += sample.time.value();
      totals.push_back(total);
      if (take) collect(run.program(), result);
    }
    return median(totals);
  }

  HostCalibration finish(HostDevice device) {
    HostCalibration calibration;
    calibration.name = options_.name;
    device.instruction = Seconds{rounded(mean(beside_))};
    device.probe = Seconds{rounded(reference_)};
    device.without_work = {without_work_.begin(), without_work_.end()};
    calibration.device = device;
    for (const auto& [key, samples] : ops_) calibration.kernels.push_back(row_of(key, samples));
    for (const auto& [key, seconds] : transfers_) {
      calibration.transfers.push_back(
          {key.pattern, key.group, Bytes{key.bytes}, measured(seconds)});
    }
    return calibration;
  }

 private:
  // Rows of the experts vary from one micro-batch to the next: the row is at their mean.
  static HostKernelRow row_of(const OpKey& key, const OpSamples& samples) {
    const double scale = mean(samples.scale);
    HostKernelRow row;
    row.op = key.name;
    row.kernel = key.kernel;
    row.m =
        key.kernel == KernelClass::kGroupedWgrad ? key.m : std::max(1.0, rounded(key.m * scale));
    row.n = key.n;
    row.k =
        key.kernel == KernelClass::kGroupedWgrad ? std::max(1.0, rounded(key.k * scale)) : key.k;
    row.groups = key.groups;
    row.amount = rounded(key.amount * scale);
    row.time = measured(samples.seconds);
    if (kernel_kind(key.kernel) != KernelKind::kStreaming) row.amount = 0;
    return row;
  }

  void collect(const Program& program, const StepResult& result) {
    for (std::size_t number = 0; number < program.works.size(); ++number)
      note_without_work(program.works[number]);
    for (const OpSample& sample : result.samples) {
      const Work& work = program.works[sample.work.index()];
      const Op& op = work.ops[static_cast<std::size_t>(sample.op)];
      OpKey key{
          host_op_name(op.name, work.pass), op.kernel, op.m, op.n, op.k, op.groups, op.amount()};
      OpSamples& samples = ops_[key];
      samples.seconds.push_back(std::max(sample.time.value(), 1e-8));
      samples.scale.push_back(scale_of(work, op, sample));
    }
    collect_instructions(program, result);
  }

  // Rows seen over even rows, where the op handles the rows of the experts.
  static double scale_of(const Work& work, const Op& op, const OpSample& sample) {
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

  void note_without_work(const Work& work) {
    if (!work.is_compute() || work.component == Component::kOptimizer) return;
    for (const Op& op : work.ops) {
      if (host_op<T>(work.component, work.pass, op) == nullptr)
        without_work_.insert(host_op_name(op.name, work.pass));
    }
  }

  // What instructions take beside their ops, the optimizer, and the exchanges.
  void collect_instructions(const Program& program, const StepResult& result) {
    std::map<InstructionId, double> in_ops;
    for (const OpSample& sample : result.samples) in_ops[sample.instruction] += sample.time.value();
    for (const Instruction& instruction : program.instructions) {
      const Work& work = program.work(instruction);
      const double seconds = result.work[instruction.id.index()].value();
      if (work.component == Component::kOptimizer) {
        const Op& op = work.ops.front();
        OpSamples& samples = ops_[{host_op_name(op.name, work.pass), op.kernel, op.m, op.n, op.k,
                                   op.groups, op.amount()}];
        samples.seconds.push_back(seconds);
        samples.scale.push_back(1);
      } else if (work.is_compute()) {
        const auto ops = in_ops.find(instruction.id);
        if (ops != in_ops.end()) beside_.push_back(std::max(0.0, seconds - ops->second));
      } else if (work.wire.logical.value() >= 1) {
        // A message counts once, with what it cost both sides.
        const bool sends =
            instruction.stream == Stream::kSendNext || instruction.stream == Stream::kSendPrev;
        if (sends) continue;
        const Seconds other =
            instruction.partner.valid() ? result.work[instruction.partner.index()] : Seconds{};
        transfers_[{work.wire.pattern, work.wire.group, work.wire.logical.value()}].push_back(
            std::max(seconds + other.value(), 1e-8));
      }
    }
  }

  const HostCalibrationOptions& options_;
  SpeedProbe<T> probe_;
  double reference_ = 0;  // seconds of the probe that all times are stated at
  std::map<OpKey, OpSamples> ops_;
  std::map<TransferKey, std::vector<double>> transfers_;
  std::set<std::string> without_work_;
  std::vector<double> beside_;
};

FlopsPerSecond peak_rate() {
  constexpr std::int64_t kSize = 384;
  std::vector<float> a(kSize * kSize, 1.0F), b(kSize * kSize, 1.0F), c(kSize * kSize);
  std::vector<double> seconds;
  for (int run = 0; run < 9; ++run) {
    const double start = thread_cpu_seconds();
    kernels::gemm_nt<float>({kSize, kSize, kSize}, a.data(), kSize, b.data(), kSize, c.data(),
                            kSize, false);
    seconds.push_back(thread_cpu_seconds() - start);
  }
  return Flops{2.0 * kSize * kSize * kSize} / Seconds{median(seconds)};
}

template <class T>
HostCalibration calibrate(const HostCalibrationOptions& options,
                          const std::function<void(int, int, const std::string&)>& progress) {
  HostDevice device;
  device.cores = options.cores > 0
                     ? options.cores
                     : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  struct sysinfo info{};
  sysinfo(&info);
  const double gibibytes = static_cast<double>(info.totalram) * info.mem_unit / 0x1p30;
  device.memory = Bytes{std::floor(gibibytes * 10) / 10 * 0x1p30};
  device.scalar = options.scalar == HostScalar::kFloat ? "float" : "double";
  device.machine = machine_fingerprint() + ", " + device.scalar;
  struct Run {
    const Model* model;
    int sequence;
    SampleLayout sizes;
  };
  std::vector<Run> runs;
  for (const Model& model : options.models) {
    for (int sequence : options.sequences) {
      for (const SampleLayout& sizes : kLayouts) {
        if (divides(model, sizes)) runs.push_back({&model, sequence, sizes});
      }
    }
  }
  ORRERY_CHECK(!runs.empty(), "nothing to measure");
  const int stages = static_cast<int>(runs.size()) + 2;
  int done = 0;
  const auto next = [&](const std::string& what) {
    if (progress) progress(done, stages, what);
    ++done;
  };
  next("hand-over and wake-up");
  device.hand_over = Seconds{rounded(hand_over_seconds())};
  device.wake = Seconds{rounded(wake_seconds())};
  device.peak = FlopsPerSecond{rounded(peak_rate().value())};
  Calibrator<T> calibrator(options, device.cores);
  for (const Run& run : runs) {
    next(fmt::format("{}, {} tokens, pp={} dp={} ep={} tp={}", run.model->name, run.sequence,
                     run.sizes.pp, run.sizes.dp, run.sizes.ep, run.sizes.tp));
    calibrator.measure(sample_plan(*run.model, run.sequence, run.sizes), 1, true);
  }
  next("several cores at once");
  device.slowdown.assign(static_cast<std::size_t>(device.cores), 1);
  const Model& model = options.models.back();
  for (int busy = 2; busy <= device.cores; busy *= 2) {
    const Plan plan = sample_plan(model, options.sequences.back(), {1, busy, 1, 1});
    const double alone = calibrator.measure(plan, 1, false);
    const double together = calibrator.measure(plan, busy, false);
    const double slowdown = std::max(1.0, rounded(together / alone));
    for (int cores = busy; cores <= device.cores; ++cores)
      device.slowdown[static_cast<std::size_t>(cores) - 1] = slowdown;
  }
  if (progress) progress(stages, stages, "");
  return calibrator.finish(device);
}

}  // namespace

HostCalibration calibrate_host(const HostCalibrationOptions& options,
                               const std::function<void(int, int, const std::string&)>& progress) {
  return options.scalar == HostScalar::kDouble ? calibrate<double>(options, progress)
                                               : calibrate<float>(options, progress);
}

}  // namespace orrery
