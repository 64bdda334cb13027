#include "realrun/calibrate_host.hpp"

#include <sys/sysinfo.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "core/error.hpp"
#include "kernels/gemm.hpp"
#include "realrun/cpu_clock.hpp"
#include "realrun/host_memory.hpp"
#include "realrun/step_samples.hpp"

namespace orrery {
namespace {

// One stage; two stages; pairs and fours that exchange tokens; tensor parallelism; fours and pairs
// of replicas that hold all of the optimizer, whose gradients are all-reduced.
constexpr SampleLayout kLayouts[] = {{1, 1, 1, 1}, {2, 1, 1, 1},    {1, 2, 2, 1},   {1, 4, 4, 1},
                                     {1, 1, 1, 2}, {1, 4, 1, 1, 0}, {2, 2, 1, 1, 0}};

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

// Measures one model. The speed of the machine changes meanwhile: what a step took is kept as a
// multiple of what the probe took right before and after it.
template <class T>
class ModelCalibrator {
 public:
  ModelCalibrator(const Model& model, int steps, int cores)
      : model_(model), steps_(steps), cores_(cores), probe_(model, cores) {}

  // Runs the layout on all cores and takes all its samples.
  void measure(int sequence, SampleLayout sizes) {
    sizes = on_cores(sizes, cores_);
    run(sequence, sizes, cores_,
        [&](const Program& program, const StepResult& result, Seconds unit) {
          samples_.add<T>(program, result, unit);
          samples_.add_changes(program, result, cores_);
        });
  }

  // How many times longer computation takes with `busy` cores at work than with one.
  double slowdown(int sequence, int busy) {
    const SampleLayout sizes{1, busy, 1, 1};
    const auto units = [&](int cores) {
      std::vector<double> totals;
      run(sequence, sizes, cores, [&](const Program&, const StepResult& result, Seconds unit) {
        Seconds total;
        for (const OpSample& sample : result.samples) total += sample.time;
        totals.push_back(total / unit);
      });
      return median_of(std::move(totals));
    };
    return units(busy) / units(1);
  }

  // Adds all that was measured, at the speed that the machine had in the middle.
  void finish(HostCalibration& calibration) const {
    const Seconds unit{median_of(probes_)};
    calibration.probes.push_back({model_.name, Seconds{rounded(unit.value())}});
    for (HostKernelRow& row : samples_.kernels(unit)) calibration.kernels.push_back(std::move(row));
    for (const HostTransferRow& row : samples_.transfers(unit))
      calibration.transfers.push_back(row);
    HostDevice& device = calibration.device;
    device.instruction = Seconds{rounded(samples_.instruction(unit).value())};
    device.hand_over = Seconds{rounded(samples_.hand_over().value())};
    device.wake = Seconds{rounded(samples_.wake().value())};
    for (const std::string& name : samples_.without_work()) {
      std::vector<std::string>& known = device.without_work;
      if (std::find(known.begin(), known.end(), name) == known.end()) known.push_back(name);
    }
  }

 private:
  template <class Take>
  void run(int sequence, const SampleLayout& sizes, int cores, Take take) {
    SampleRun<T> run(sample_plan(model_, sequence, sizes), cores, true);
    run.step();  // pays for memory and caches
    Seconds before = probe();
    for (int step = 0; step < steps_; ++step) {
      const StepResult result = run.step();
      const Seconds after = probe();
      take(run.program(), result, 0.5 * (before + after));
      before = after;
    }
  }

  Seconds probe() {
    const Seconds time = probe_.measure();
    probes_.push_back(time.value());
    return time;
  }

  Model model_;
  int steps_, cores_;
  SpeedProbe<T> probe_;
  std::vector<double> probes_;  // seconds
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
  device.cores = options.cores > 0
                     ? options.cores
                     : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
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
  for (const CalibratedModel& each : options.models) {
    ModelCalibrator<T> calibrator(each.model, options.steps, device.cores);
    for (int sequence : options.sequences) {
      for (const SampleLayout& sizes : layouts_of(each)) {
        next(fmt::format("{}, {} tokens, pp={} dp={} ep={} tp={}{}", each.model.name, sequence,
                         sizes.pp, sizes.dp, sizes.ep, sizes.tp,
                         sizes.zero == 1 ? "" : fmt::format(" zero={}", sizes.zero)));
        calibrator.measure(sequence, sizes);
      }
    }
    if (&each == &options.models.back()) {
      next("several cores at once");
      for (int busy = 2; busy <= device.cores; busy *= 2) {
        const double slowdown =
            std::max(1.0, rounded(calibrator.slowdown(options.sequences.back(), busy)));
        for (int cores = busy; cores <= device.cores; ++cores)
          device.slowdown[static_cast<std::size_t>(cores) - 1] = slowdown;
      }
    }
    calibrator.finish(calibration);
  }
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
