#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "core/catalog.hpp"
#include "core/error.hpp"
#include "core/model_reader.hpp"
#include "realrun/calibrate_host.hpp"
#include "realrun/gpu_presence.hpp"
#include "reports/calibration_text.hpp"
#include "reports/measured_calibration_text.hpp"

namespace orrery::cli {
namespace {

struct Options {
  std::vector<std::string> models = {"tiny-moe", "small-moe"};
  HostCalibrationOptions calibration;
  std::string scalar = "float";
  std::string output;
};

struct CudaOptions {
  std::string measured, device, output;
};

int calibrate_cuda(const CudaOptions& options) {
  constexpr const char* kMeasure = "scripts/measure_cuda.sh -o FILE.json";
  if (options.measured.empty()) {
    if (has_nvidia_gpu())
      throw InputError(
          fmt::format("error: nothing was measured yet\n  = measure with {}, then give "
                      "--measured FILE.json",
                      kMeasure));
    throw EnvironmentError(
        fmt::format("error: there is no GPU on this machine\n  = measure on one that has, with {}, "
                    "then give --measured FILE.json",
                    kMeasure));
  }
  check_outputs({options.output}, {options.measured});
  Diagnostics diagnostics;
  const KernelMeasurements measurements = read_kernel_measurements(options.measured, diagnostics);
  diagnostics.throw_if_errors();
  const std::string device =
      options.device.empty() ? calibration_name(measurements.device) : options.device;
  const MeasuredCalibration calibration =
      measured_calibration(resolve(device, CatalogKind::kCalibration), measurements, diagnostics);
  write_output(options.output, calibration.text);
  std::fputs(measured_calibration_text(calibration, measurements).c_str(),
             answer_stream({options.output}));
  return kYes;
}

int calibrate_this_host(Options& options) {
  const Stopwatch stopwatch;
  check_outputs({options.output});
  for (const std::string& model : options.models)
    options.calibration.models.push_back({read_model(resolve(model, CatalogKind::kModel))});
  options.calibration.scalar =
      options.scalar == "double" ? HostScalar::kDouble : HostScalar::kFloat;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  const HostCalibration calibration =
      calibrate_host(options.calibration, [&](int done, int of, const std::string& what) {
        if (terminal) {
          std::fprintf(stderr, "\r\033[K");
          if (done < of) std::fprintf(stderr, "[%d of %d] %s", done + 1, of, what.c_str());
        } else if (done < of) {
          std::fprintf(stderr, "[%d of %d] %s\n", done + 1, of, what.c_str());
        }
      });
  write_output(options.output, write_host_calibration(calibration));
  std::fputs(calibration_text(calibration, stopwatch.wall_s()).c_str(),
             answer_stream({options.output}));
  return kYes;
}

}  // namespace

Command add_calibrate(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "calibrate", "Measure what the kernels of a device take, for predictions on it");
  command->require_subcommand(1);
  CLI::App* host = command->add_subcommand(
      "host", "This machine: kernels, exchanges and hand-overs of real runs on its cores");
  host->add_option("--models", options->models, "Models whose shapes are measured")
      ->delimiter(',')
      ->capture_default_str();
  host->add_option("--seq", options->calibration.sequences, "Tokens a micro-batch")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  host->add_option("--steps", options->calibration.steps, "Steps of each measurement")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  host->add_option("--cores", options->calibration.cores, "Cores to use (default: all)")
      ->check(CLI::Range(1, 4096));
  host->add_option("--scalar", options->scalar, "Type of weights and activations")
      ->capture_default_str()
      ->check(CLI::IsMember({"float", "double"}));
  host->add_option("--name", options->calibration.name, "Name in the file")->capture_default_str();
  host->add_option("-o,--output", options->output, "File to write; - is standard output")
      ->required();
  auto measured = std::make_shared<CudaOptions>();
  CLI::App* cuda = command->add_subcommand(
      "cuda", "A GPU: what the CUDA kernels were measured to take, as rows of its calibration");
  cuda->add_option("--measured", measured->measured,
                   "What scripts/measure_cuda.sh wrote on a machine with such a GPU");
  cuda->add_option("--device", measured->device,
                   "Calibration that says what was not measured: transport, memory, base (default: "
                   "named as the device that was measured)");
  cuda->add_option("-o,--output", measured->output, "File to write; - is standard output")
      ->required();
  return [host, options, measured] {
    return host->parsed() ? calibrate_this_host(*options) : calibrate_cuda(*measured);
  };
}

}  // namespace orrery::cli
