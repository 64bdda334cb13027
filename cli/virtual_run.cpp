#include "cli/virtual_run.hpp"

#include <cstdio>
#include <memory>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "core/diagnostic.hpp"
#include "core/error.hpp"
#include "core/plan_json.hpp"
#include "core/timeline_json.hpp"
#include "kernels/cuda_plugin.hpp"
#include "planner/prediction.hpp"
#include "realrun/batches.hpp"
#include "realrun/calibrated_device.hpp"
#include "realrun/corpus.hpp"
#include "realrun/cuda_library.hpp"
#include "realrun/host_memory.hpp"
#include "realrun/virtual_run.hpp"
#include "reports/virtual_run_text.hpp"
#include "workload/lower.hpp"

namespace orrery::cli {
namespace {

void check(const Plan& plan) {
  Diagnostics diagnostics;
  if (plan.cluster.fabric.kind == FabricKind::kHost) {
    diagnostics.error({}, "'" + plan.cluster.name + "' is a host: a virtual run is of GPUs",
                      "--mode host carries its plans out");
  }
  if (plan.layout.precision == Precision::kFp8Tensor) {
    diagnostics.error({}, "no kernel here has one FP8 scale for a whole tensor",
                      "plan with precision=fp8 or bf16");
  }
  if (plan.layout.cp > 1) {
    diagnostics.error({}, "no kernel here attends to a part of a sequence",
                      "plan without context parallelism");
  }
  diagnostics.throw_if_errors();
}

[[noreturn]] void cannot(const std::runtime_error& error) {
  throw EnvironmentError(fmt::format("the GPU cannot carry the run out: {}", error.what()));
}

// The device and the library that its code is in.
struct LoadedDevice {
  std::unique_ptr<CudaLibrary> library;
  std::unique_ptr<VirtualDevice> device;
};

LoadedDevice load_device(const VirtualRunOptions& options, const Plan& plan) {
  LoadedDevice loaded;
  if (options.simulated_device.empty()) {
    loaded.library = std::make_unique<CudaLibrary>(options.cuda_library, kVirtualMode);
    auto* make = loaded.library->entry<CudaVirtualDeviceFactory>(kCudaVirtualDeviceFactoryName);
    try {
      loaded.device.reset(make());
    } catch (const std::runtime_error& error) {
      cannot(error);
    }
    return loaded;
  }
  const DeviceModel model = find_device(options.simulated_device, plan.cluster);
  loaded.device = std::make_unique<CalibratedDevice>(
      "simulated device, kernels as calibration '" + model.device().name + "' has them",
      [model](const Op& op, int lent_sms) {
        Work alone;
        alone.ops = {op};
        return model.costs().compute(alone, lent_sms).total();
      });
  return loaded;
}

}  // namespace

int virtual_run(const VirtualRunOptions& options) {
  const Plan plan = read_plan(options.plan);
  check(plan);
  check_outputs({options.output}, {options.plan, options.corpus, options.calibration});
  check_host_memory(plan, HostScalar::kFloat, 0, plan.layout.gpus(), 2);  // tested and reference
  const DeviceModel model = find_device(
      options.calibration.empty() ? plan.calibration.name : options.calibration, plan.cluster);
  if (options.calibration.empty()) warn_of_other_calibration(plan, model);
  const LoadedDevice loaded = load_device(options, plan);
  const Program program = lower(plan);
  const Timeline predicted = predict(plan, program, model, {}).timeline;
  VirtualRunInput input{plan, program, predicted, model.costs(), model.device().name};
  input.recipe.seed = options.recipe.seed;
  input.recipe.bias_rate = options.recipe.bias_rate;
  if (options.learning_rate) input.recipe.learning_rate = *options.learning_rate;
  if (options.steps) input.steps = *options.steps;
  const int extra = 1 + plan.model.mtp_depth;
  const auto window = static_cast<std::size_t>(plan.training.sequence + extra);
  const Corpus corpus =
      options.corpus.empty() ? make_default_corpus() : read_corpus(options.corpus, window);
  const Batches batches(corpus.training, plan.training.sequence, extra, input.recipe.seed);
  std::FILE* answer = answer_stream({options.output});
  std::fputs(virtual_run_heading(input, *loaded.device, predicted.source, options.corpus).c_str(),
             answer);
  std::fflush(answer);
  std::optional<VirtualRun> run;
  try {
    run = virtual_run(
        input, *loaded.device,
        [&](int step, std::int64_t index, std::span<std::int32_t> tokens) {
          batches.fill(step + 1, index, tokens);
        },
        [&](int step, const Ladder& ladder) {
          std::fputs(virtual_run_step_line(step, ladder).c_str(), answer);
          std::fflush(answer);
        });
  } catch (const std::runtime_error& error) {
    if (loaded.device->failed()) cannot(error);
    throw;
  }
  std::fputs(virtual_run_closing(predicted, *run).c_str(), answer);
  if (!options.output.empty())
    write_output(options.output, to_json(program, run->timeline, &plan, nullptr, &run->kernels));
  if (run->ladder.passes()) return kYes;
  std::fflush(answer);
  std::fprintf(stderr, "The run is off the ladder: its loss or a gradient is beyond its limit.\n");
  return kNo;
}

}  // namespace orrery::cli
