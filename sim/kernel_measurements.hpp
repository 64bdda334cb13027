#pragma once
// What the CUDA benchmarks measured on a GPU, read from the JSON that scripts/measure_cuda.sh
// leaves (kernels/cuda/bench_report.hpp has its schema). What it means for a calibration is decided
// in sim/measured_tables.hpp.
#include <string>
#include <utility>
#include <vector>

#include "core/diagnostic.hpp"
#include "core/quantity.hpp"

namespace orrery {

struct KernelMeasurement {
  std::string kernel;         // "experts fc1 F", without what ran beside it
  std::string shape;          // as measured: "8192x4096x7168 x 4"
  std::vector<double> sizes;  // 8192, 4096, 7168
  int groups = 1;             // 4
  int beside_gbps = 0;        // of an exchange that held SMs and moved so much; 0: alone
  int sms = 0;                // that it was told to use; 0: nothing was said
  Seconds median, p10, p90;
  int samples = 0;
  Flops flops;
  Bytes bytes;
  std::string ceiling;  // "bf16" and "fp8" products and attention, "copy" what streams memory
  Place place;
};

struct KernelMeasurements {
  std::string file;    // as the user named it
  std::string device;  // "NVIDIA H200"
  std::string driver;  // the CUDA version it supports: "13.0"
  std::string cublaslt, cudnn;
  std::string date;  // "2026-11-27"
  int sms = 0;       // of the device
  std::vector<KernelMeasurement> results;
  std::vector<std::pair<std::string, std::string>> failed;  // kernel, why
  Place device_place, sms_place, results_place;

  // "FILE: NVIDIA H200, driver 13.0, cuBLASLt 13.1.0, cuDNN 9.14.0, 2026-11-27"
  std::string source() const;
};

// What is wrong is added to `diagnostics`, which keeps the text for messages about what is missing;
// throws InputError where the file cannot be read, is no JSON or of another kind.
KernelMeasurements read_kernel_measurements(const std::string& path, Diagnostics& diagnostics);

}  // namespace orrery
