#pragma once
// What a run of the CUDA benchmarks leaves: one JSON object, written anew after every kernel (to a
// temporary file that is then renamed), so that a run that is cut short leaves what it has.
//
//   {"format_version": "1.0", "kind": "cuda-kernels", "device", "driver", "cuda", "cublaslt",
//    "cudnn", "date" (UTC), "sms", "ceilings": {"copy_tbps", "bf16_tflops", "fp8_tflops"},
//    "results": [{"kernel", "shape", "sms", "median_us", "p10_us", "p90_us", "samples",
//                 "flops", "tflops", "bytes", "tbps", "fraction_of_ceiling", "ceiling"}],
//    "failed": [{"kernel", "why"}]}
//
// bytes: what the algorithm must read and write, each once; TB/s = 10^12 bytes a second. flops: two
// per multiplication and addition. The ceilings are measured in the same run, on random data: a
// copy of 1 GiB (bytes read and written), square products of 8192.
#include <string>
#include <vector>

namespace orrery::cuda {

struct KernelResult {
  std::string kernel, shape;
  int sms = 0;  // that a product was told to use; 0: all
  double median_us = 0, p10_us = 0, p90_us = 0;
  int samples = 0;
  double flops = 0, bytes = 0;
  std::string ceiling;  // "copy", "bf16", "fp8"

  double tflops() const { return median_us > 0 ? flops / median_us * 1e-6 : 0; }
  double tbps() const { return median_us > 0 ? bytes / median_us * 1e-6 : 0; }
};

class BenchReport {
 public:
  // Empty path: nothing is written.
  explicit BenchReport(std::string path);
  void set_ceiling(const std::string& name, double value);
  // Prints a line and writes the file.
  void add(const KernelResult& result);
  void fail(const std::string& kernel, const std::string& why);
  static void print_heading();

 private:
  double fraction(const KernelResult& result) const;
  void write() const;

  std::string path_;
  double copy_tbps_ = 0, bf16_tflops_ = 0, fp8_tflops_ = 0;
  std::vector<KernelResult> results_;
  std::vector<std::pair<std::string, std::string>> failed_;
};

}  // namespace orrery::cuda
