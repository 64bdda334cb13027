#include "kernels/cuda/bench_report.hpp"

#include <cublasLt.h>
#include <cudnn.h>

#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/cuda/device.cuh"

namespace orrery::cuda {
namespace {

std::string version(int number) {  // 13000 -> "13.0"
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

std::string now() {
  const std::time_t time = std::time(nullptr);
  char text[32] = {};
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&time));
  return text;
}

}  // namespace

BenchReport::BenchReport(std::string path) : path_(std::move(path)) {}

void BenchReport::set_ceiling(const std::string& name, double value) {
  (name == "copy" ? copy_tbps_ : name == "bf16" ? bf16_tflops_ : fp8_tflops_) = value;
}

double BenchReport::fraction(const KernelResult& result) const {
  const double ceiling = result.ceiling == "copy"   ? copy_tbps_
                         : result.ceiling == "bf16" ? bf16_tflops_
                                                    : fp8_tflops_;
  const double reached = result.ceiling == "copy" ? result.tbps() : result.tflops();
  return ceiling > 0 ? reached / ceiling : 0;
}

void BenchReport::print_heading() {
  std::printf("%-34s %-26s %10s %10s %10s %9s %8s %9s\n", "kernel", "shape", "median, us", "p10",
              "p90", "TFLOPS", "TB/s", "ceiling");
}

void BenchReport::add(const KernelResult& result) {
  results_.push_back(result);
  std::printf("%-34s %-26s %10.1f %10.1f %10.1f %9.1f %8.3f %7.1f %%\n", result.kernel.c_str(),
              result.shape.c_str(), result.median_us, result.p10_us, result.p90_us, result.tflops(),
              result.tbps(), 100 * fraction(result));
  std::fflush(stdout);
  write();
}

void BenchReport::fail(const std::string& kernel, const std::string& why) {
  failed_.emplace_back(kernel, why);
  std::printf("%-34s failed: %s\n", kernel.c_str(), why.c_str());
  std::fflush(stdout);
  write();
}

void BenchReport::write() const {
  if (path_.empty()) return;
  cudaDeviceProp properties{};
  int driver = 0, runtime = 0;
  check(cudaGetDeviceProperties(&properties, 0), "device properties");
  check(cudaDriverGetVersion(&driver), "driver version");
  check(cudaRuntimeGetVersion(&runtime), "runtime version");
  nlohmann::ordered_json root;
  root["format_version"] = "1.0";
  root["kind"] = "cuda-kernels";
  root["device"] = properties.name;
  root["driver"] = version(driver);
  root["cuda"] = version(runtime);
  root["cublaslt"] = cublasLtGetVersion();
  root["cudnn"] = cudnnGetVersion();
  root["date"] = now();
  root["sms"] = properties.multiProcessorCount;
  root["ceilings"] = {
      {"copy_tbps", copy_tbps_}, {"bf16_tflops", bf16_tflops_}, {"fp8_tflops", fp8_tflops_}};
  root["results"] = nlohmann::ordered_json::array();
  for (const KernelResult& result : results_) {
    root["results"].push_back({{"kernel", result.kernel},
                               {"shape", result.shape},
                               {"sms", result.sms},
                               {"median_us", result.median_us},
                               {"p10_us", result.p10_us},
                               {"p90_us", result.p90_us},
                               {"samples", result.samples},
                               {"flops", result.flops},
                               {"tflops", result.tflops()},
                               {"bytes", result.bytes},
                               {"tbps", result.tbps()},
                               {"fraction_of_ceiling", fraction(result)},
                               {"ceiling", result.ceiling}});
  }
  root["failed"] = nlohmann::ordered_json::array();
  for (const auto& [kernel, why] : failed_)
    root["failed"].push_back({{"kernel", kernel}, {"why", why}});
  const std::string temporary = path_ + ".tmp";
  std::ofstream(temporary) << root.dump(1) << "\n";
  std::filesystem::rename(temporary, path_);
}

}  // namespace orrery::cuda
