#include "cli/replay.hpp"

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <memory>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "core/diagnostic.hpp"
#include "core/error.hpp"
#include "core/plan_json.hpp"
#include "core/timeline_json.hpp"
#include "kernels/cuda_plugin.hpp"
#include "realrun/cuda_library.hpp"
#include "realrun/replay_record.hpp"
#include "realrun/simulated_device.hpp"
#include "reports/replay_comparison_text.hpp"
#include "workload/lower.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery::cli {
namespace {

// The step of a full-size rank takes many seconds, pairs a fraction of one.
constexpr ReplaySamples kOfStep = {1, 1}, kOfPairs = {2, 5};

void check(const Plan& plan, const ReplayOptions& options) {
  Diagnostics diagnostics;
  for (const ScheduleFault& fault : check_schedule(plan.schedule))
    diagnostics.error({}, "schedule: " + fault.reason);
  if (plan.cluster.fabric.kind == FabricKind::kHost) {
    diagnostics.error({}, "'" + plan.cluster.name + "' is a host: a replay is of a rank on a GPU",
                      "--mode host carries its plans out");
  }
  if (options.arrivals.empty()) {
    diagnostics.error(
        {}, "a replay needs to know when messages of other ranks arrive",
        "add --arrivals predicted.json, from `orrery simulate PLAN -o predicted.json`");
  }
  const int ranks = plan.layout.pp;
  if (!options.rank) {
    diagnostics.error({}, "which rank is replayed?",
                      fmt::format("add --rank R, a pipeline rank of 0 to {}", ranks - 1));
  } else if (*options.rank >= ranks) {
    diagnostics.error({}, fmt::format("the plan has no pipeline rank {}", *options.rank),
                      fmt::format("its {} ranks are 0 to {}", ranks, ranks - 1));
  }
  diagnostics.throw_if_errors();
}

// The device and the library that its code is in.
struct LoadedDevice {
  std::unique_ptr<CudaLibrary> library;
  std::unique_ptr<ReplayDevice> device;
};

LoadedDevice load_device(const ReplayOptions& options, const Plan& plan) {
  LoadedDevice loaded;
  if (options.simulated_device.empty()) {
    loaded.library = std::make_unique<CudaLibrary>(options.cuda_library, kReplayMode);
    loaded.device.reset(
        loaded.library->entry<CudaReplayDeviceFactory>(kCudaReplayDeviceFactoryName)(
            options.product_sms == "left" ? ProductSms::kLeft : ProductSms::kAll));
    return loaded;
  }
  const DeviceModel model = find_device(options.simulated_device, plan.cluster);
  loaded.device = std::make_unique<SimulatedDevice>(
      "simulated device, kernels as calibration '" + model.device().name + "' has them",
      [model](const KernelCall& call) {
        Work alone;
        alone.ops = {*call.op};
        return model.costs().compute(alone, call.lent_sms).total();
      });
  return loaded;
}

std::string comparison_text(const Program& program, const TimelineFile& predicted,
                            const ReplayRecord& record) {
  return replay_comparison_text(predicted.timeline.source, record,
                                compare_replay(program, predicted.timeline, record),
                                kept_pair_for(record.plan));
}

}  // namespace

void add_replay_options(CLI::App& command, ReplayOptions& options) {
  command.add_option("--rank", options.rank, "For --mode cuda-replay: the pipeline rank to replay")
      ->check(CLI::NonNegativeNumber);
  command.add_option(
      "--arrivals", options.arrivals,
      "For --mode cuda-replay: the predicted timeline, of `orrery simulate PLAN -o`, "
      "that says how long after what messages arrive");
  command
      .add_option("--pairs", options.pairs,
                  "For --mode cuda-replay: replay so many co-scheduled pairs of the steady state "
                  "(default: the step)")
      ->check(CLI::Range(1, 1000000));
  command.add_option("--simulated-device", options.simulated_device,
                     "For --mode cuda-replay and cuda-virtual: instead of a GPU a clock, on which "
                     "kernels take the times of this calibration; measures nothing");
  command
      .add_option("--product-sms", options.product_sms,
                  "For --mode cuda-replay: left: matrix products are told to leave the SMs lent to "
                  "communication; all: they are told nothing")
      ->capture_default_str()
      ->check(CLI::IsMember({"left", "all"}));
  command
      .add_option("--cuda-library", options.cuda_library,
                  "The library of CUDA kernels to load (default: liborrery_cuda.so beside orrery)")
      ->envname("ORRERY_CUDA_LIBRARY");
}

int replay(const ReplayFiles& files, const ReplayOptions& options) {
  const Plan plan = read_plan(files.plan);
  check(plan, options);
  check_outputs({files.output}, {files.plan, options.arrivals, files.calibration});
  const Program program = lower(plan);
  const TimelineFile predicted = read_timeline(options.arrivals);
  check_same_program(predicted, options.arrivals, program);
  const DeviceModel model = find_device(
      files.calibration.empty() ? plan.calibration.name : files.calibration, plan.cluster);
  if (files.calibration.empty()) warn_of_other_calibration(plan, model);
  const ReplayScript script =
      replay_script(plan, program, predicted.timeline, Rank(*options.rank), options.pairs);
  std::optional<ReplayRecord> record;
  try {
    const LoadedDevice loaded = load_device(options, plan);
    const MeasuredReplay measured =
        measure_replay(*loaded.device, script, options.pairs == 0 ? kOfStep : kOfPairs);
    record = replay_record(plan, program, script, measured, *loaded.device, model.costs(),
                           model.device().name);
  } catch (const InputError&) {
    throw;
  } catch (const EnvironmentError&) {
    throw;
  } catch (const std::runtime_error& error) {
    throw EnvironmentError(fmt::format("the GPU cannot carry the replay out: {}", error.what()));
  }
  if (!files.output.empty()) write_output(files.output, to_json(*record));
  std::fputs(comparison_text(program, predicted, *record).c_str(), answer_stream({files.output}));
  return kYes;
}

int compare_with_replay(const ReplayComparisonOptions& options, const Document& measured) {
  const Stopwatch stopwatch;
  Diagnostics diagnostics;
  const ReplayRecord record = read_replay_record(measured, diagnostics);
  const Program program = lower(record.plan);
  check_same_program(record, measured.file, program);
  const TimelineFile predicted = read_timeline(options.predicted);
  check_same_program(predicted, options.predicted, program);
  const ReplayComparison comparison = compare_replay(program, predicted.timeline, record);
  const std::optional<KeptPair> kept = kept_pair_for(record.plan);
  std::fputs(
      options.json
          ? replay_comparison_json(record, comparison, kept, stopwatch.wall_s(), stopwatch.cpu_s())
                .c_str()
          : replay_comparison_text(predicted.timeline.source, record, comparison, kept).c_str(),
      stdout);
  if (options.limit < 0 || 100 * std::abs(comparison.all.error()) <= options.limit) return kYes;
  std::fflush(stdout);
  std::fprintf(stderr, "The error of the replay is beyond the limit of %g %%.\n", options.limit);
  return kNo;
}

}  // namespace orrery::cli
