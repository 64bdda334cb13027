#include "realrun/calibrate_host.hpp"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.hpp"
#include "kernels/gemm.hpp"
#include "realrun/cpu_clock.hpp"
#include "realrun/host_memory.hpp"
#include "realrun/processors.hpp"
#include "realrun/speed_meter.hpp"
#include "realrun/step_samples.hpp"

namespace orrery {
namespace {

// One stage; two stages; pairs and fours that exchange tokens; tensor parallelism; fours and pairs
// of replicas that hold all of the optimizer, whose gradients are all-reduced.
constexpr SampleLayout kLayouts[] = {{1, 1, 1, 1}, {2, 1, 1, 1},    {1, 2, 2, 1},   {1, 4, 4, 1},
                                     {1, 1, 1, 2}, {1, 4, 1, 1, 0}, {2, 2, 1, 1, 0}};

// Of short steps more are measured.
constexpr Seconds kLeastMeasured{0.6};
// Steps that compare cores, for each step that measures.
constexpr int kFactor = 4;

bool divides(const Model& model, const SampleLayout& sizes) {
  return model.moe.experts % sizes.ep == 0 && model.attention.heads % sizes.tp == 0 &&
         model.vocab % sizes.tp == 0;
}

std::vector<SampleLayout> layouts_of(const CalibratedModel& each) {
  std::vector<SampleLayout> layouts = each.layouts;
  if (layouts.empty()) layouts.assign(std::begin(kLayouts), std::end(kLayouts));
  std::erase_if(layouts, [&](const SampleLayout& sizes) { return !divides(each.model, sizes); });
  return layouts;
}

// With as many replicas as it takes to have two ranks take turns on every core.
SampleLayout on_cores(SampleLayout sizes, int cores) {
  while (sizes.pp * sizes.dp * sizes.tp < 2 * cores) sizes.dp *= 2;
  return sizes;
}

// Measures models in short runs, and the speed of the cores meanwhile.
template <class T>
class Calibrator {
 public:
  Calibrator(int steps, int cores) : steps_(steps), cores_(cores), meter_(cores) {}

  // Runs the layout on all cores and takes all its samples.
  void measure(const Model& model, int sequence, SampleLayout sizes) {
    SampleRun<T> run = run_of(model, sequence, on_cores(sizes, cores_), cores_, true);
    std::vector<StepResult> results;
    Seconds measured;
    while (static_cast<int>(results.size()) < steps_ || measured < kLeastMeasured) {
      results.push_back(run.step());
      measured += results.back().timeline.step;
    }
    const SpeedReadings readings = meter_.readings();
    for (const StepResult& result : results) {
      samples_.add<T>(run.program(), result, units_of(run, result, readings));
      samples_.add_changes(run.program(), result, cores_);
    }
  }

  // How many times longer computation takes with `busy` cores at work than with one. Steps
  // alternate, because the speed of the machine changes, and the faster ones of each count.
  double slowdown(const Model& model, int sequence, int busy) {
    const SampleLayout sizes{1, busy, 1, 1};
    SampleRun<T> one = run_of(model, sequence, sizes, 1, false);
    SampleRun<T> all = run_of(model, sequence, sizes, busy, false);
    std::vector<double> alone, together;
    for (int step = 0; step < kFactor * steps_; ++step) {
      alone.push_back(computation(one, one.step()).value());
      together.push_back(computation(all, all.step()).value());
    }
    const auto fast = [](std::vector<double>& values) {
      const auto place = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 4);
      std::nth_element(values.begin(), place, values.end());
      return *place;
    };
    return fast(together) / fast(alone);
  }

  // Adds all that was measured, at the speed that the machine had on average.
  void finish(HostCalibration& calibration) const {
    const Seconds unit = meter_.readings().typical();
    calibration.kernels = samples_.kernels(unit);
    calibration.transfers = samples_.transfers(unit);
    HostDevice& device = calibration.device;
    device.meter = Seconds{rounded(unit.value())};
    device.instruction = Seconds{rounded(samples_.instruction(unit).value())};
    device.hand_over = Seconds{rounded(samples_.hand_over().value())};
    device.wake = Seconds{rounded(samples_.wake().value())};
    const std::set<std::string>& names = samples_.without_work();
    device.without_work.assign(names.begin(), names.end());
  }

 private:
  // After a first step, which pays for memory and caches.
  SampleRun<T> run_of(const Model& model, int sequence, const SampleLayout& sizes, int cores,
                      bool time_ops) {
    HostRunOptions options;
    options.cores = cores;
    options.time_ops = time_ops;
    SampleRun<T> run(sample_plan(model, sequence, sizes), options);
    run.step();
    return run;
  }

  // By instruction, what the meter read meanwhile: of a computation on its core, of communication
  // on all of them.
  std::vector<Seconds> units_of(const SampleRun<T>& run, const StepResult& result,
                                const SpeedReadings& readings) const {
    std::vector<Seconds> units;
    for (const Instruction& instruction : run.program().instructions) {
      const Span& span = result.timeline.at(instruction.id);
      const Seconds from = run.began(result) + span.start, to = run.began(result) + span.end;
      Seconds unit;
      if (instruction.stream == Stream::kCompute) {
        unit = readings.around(static_cast<int>(instruction.rank.index()) % cores_, from, to);
      } else {
        for (int core = 0; core < cores_; ++core) unit += readings.around(core, from, to) / cores_;
      }
      units.push_back(unit);
    }
    return units;
  }

  static Seconds computation(const SampleRun<T>& run, const StepResult& result) {
    Seconds total;
    for (const Instruction& instruction : run.program().instructions) {
      if (instruction.stream == Stream::kCompute) total += result.work[instruction.id.index()];
    }
    return total;
  }

  int steps_, cores_;
  SpeedMeter meter_;
  StepSamples samples_;
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
  return Flops{2.0 * kSize * kSize * kSize} / Seconds{median_of(seconds)};
}

HostDevice describe_device(const HostCalibrationOptions& options) {
  HostDevice device;
  device.cores = options.cores > 0 ? options.cores : usable_cores();
  struct sysinfo info {};
  sysinfo(&info);
  const double gibibytes = static_cast<double>(info.totalram) * info.mem_unit / 0x1p30;
  device.memory = Bytes{std::floor(gibibytes * 10) / 10 * 0x1p30};
  device.scalar = options.scalar == HostScalar::kFloat ? "float" : "double";
  device.machine = machine_fingerprint() + ", " + device.scalar;
  device.slowdown.assign(static_cast<std::size_t>(device.cores), 1);
  return device;
}

template <class T>
HostCalibration calibrate(const HostCalibrationOptions& options,
                          const std::function<void(int, int, const std::string&)>& progress) {
  ORRERY_CHECK(!options.models.empty() && !options.sequences.empty(), "nothing to measure");
  HostCalibration calibration;
  calibration.name = options.name;
  HostDevice& device = calibration.device = describe_device(options);
  int stages = 1, done = 0;
  const int longest = *std::max_element(options.sequences.begin(), options.sequences.end());
  for (const CalibratedModel& each : options.models) {
    for (const SampleLayout& sizes : layouts_of(each)) {
      const Plan plan = sample_plan(each.model, longest, on_cores(sizes, device.cores));
      check_host_memory(plan, options.scalar, 0, plan.layout.gpus());
    }
  }
  for (const CalibratedModel& each : options.models)
    stages += static_cast<int>(layouts_of(each).size() * options.sequences.size());
  const auto next = [&](const std::string& what) {
    if (progress) progress(done, stages, what);
    ++done;
  };
  Calibrator<T> calibrator(options.steps, device.cores);
  for (const CalibratedModel& each : options.models) {
    for (int sequence : options.sequences) {
      for (const SampleLayout& sizes : layouts_of(each)) {
        next(fmt::format("{}, {} tokens, pp={} dp={} ep={} tp={}{}", each.model.name, sequence,
                         sizes.pp, sizes.dp, sizes.ep, sizes.tp,
                         sizes.zero == 1 ? "" : fmt::format(" zero={}", sizes.zero)));
        calibrator.measure(each.model, sequence, sizes);
      }
    }
  }
  next("several cores at once");
  for (int busy = 2; busy <= device.cores; busy *= 2) {
    const double slowdown = std::max(
        1.0,
        rounded(calibrator.slowdown(options.models.front().model, options.sequences.back(), busy)));
    for (int cores = busy; cores <= device.cores; ++cores)
      device.slowdown[static_cast<std::size_t>(cores) - 1] = slowdown;
  }
  calibrator.finish(calibration);
  device.peak = FlopsPerSecond{rounded(peak_rate().value())};
  if (progress) progress(stages, stages, "");
  return calibration;
}

}  // namespace

HostCalibration calibrate_host(const HostCalibrationOptions& options,
                               const std::function<void(int, int, const std::string&)>& progress) {
  return options.scalar == HostScalar::kDouble ? calibrate<double>(options, progress)
                                               : calibrate<float>(options, progress);
}

}  // namespace orrery
