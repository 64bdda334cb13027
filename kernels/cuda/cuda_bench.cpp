// Every CUDA kernel at the shapes of kernels/cuda/bench_case.cuh.
//
//   cuda_bench [--out=FILE.json] [Google Benchmark options, e.g. --benchmark_filter=fc1]
//
// Products in FP8 are left out where the device has none.
//
// Time of one launch between two events, after 128 MiB of something else have gone through L2;
// three launches warm up, 30 are sampled. Exits with 3 where there is no GPU.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstring>

#include "kernels/cuda/bench_case.cuh"
#include "kernels/cuda/bench_report.hpp"

namespace orrery::cuda {
namespace {

constexpr int kWarmUp = 3, kSamples = 30;

class Bench {
 public:
  Bench() : flush_(std::size_t{128} << 20) {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    check(cudaEventCreate(&begin_), "event");
    check(cudaEventCreate(&end_), "event");
  }

  KernelResult measure(const Case& each, benchmark::State& state) {
    const Launch launch = each.make(stream_);
    const auto settle = [&each] {
      if (each.settle) each.settle();
    };
    for (int run = 0; run < kWarmUp; ++run) {
      launch(stream_);
      settle();
    }
    check(cudaStreamSynchronize(stream_), each.kernel.c_str());
    std::vector<double> times;
    for (auto _ : state) {
      check(cudaMemsetAsync(flush_.get(), 0, flush_.size(), stream_), "flush");
      check(cudaEventRecord(begin_, stream_), "event");
      launch(stream_);
      check(cudaEventRecord(end_, stream_), "event");
      check(cudaEventSynchronize(end_), each.kernel.c_str());
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, begin_, end_), "event");
      settle();
      times.push_back(1e3 * milliseconds);
      state.SetIterationTime(1e-3 * milliseconds);
    }
    std::sort(times.begin(), times.end());
    const auto at = [&](double share) {
      return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1) + 0.5)];
    };
    return {each.kernel,
            each.shape,
            each.sms,
            at(0.5),
            at(0.1),
            at(0.9),
            static_cast<int>(times.size()),
            each.flops,
            each.bytes,
            each.ceiling};
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
  Device<char> flush_;
};

std::vector<Case> tiny_cases() {
  std::vector<Case> cases;
  for (const auto& more : {tiny_product_cases(), attention_cases(kTiny.tokens, kTiny.heads),
                           streaming_cases(kTiny), small_cases(kTiny)})
    cases.insert(cases.end(), more.begin(), more.end());
  for (Case& each : cases) each.kernel = "tiny " + each.kernel;
  return cases;
}

// The most telling first: a run that is cut short has those.
std::vector<Case> all_cases() {
  std::vector<Case> cases = copy_cases();
  for (const auto& more : {product_cases(), attention_cases(4096), streaming_cases(kDeepSeekV3),
                           exchange_cases(), product_cases_in_bf16(), small_cases(kDeepSeekV3),
                           tiny_cases(), co_scheduled_cases(), attention_cases(2048)})
    cases.insert(cases.end(), more.begin(), more.end());
  if (!multiplies_fp8())
    std::erase_if(cases, [](const Case& each) { return each.ceiling == "fp8"; });
  return cases;
}

// The report prints its own lines.
class SilentReporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>&) override {}
};

int run(int argc, char** argv) {
  std::string path;
  std::vector<char*> rest;
  for (int at = 0; at < argc; ++at) {
    if (std::strncmp(argv[at], "--out=", 6) == 0) {
      path = argv[at] + 6;
    } else {
      rest.push_back(argv[at]);
    }
  }
  int count = static_cast<int>(rest.size());
  benchmark::Initialize(&count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(count, rest.data())) return 2;
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::fprintf(stderr, "skipped: there is no GPU\n");
    return 3;
  }
  Bench bench;
  BenchReport report(path);
  const std::vector<Case> cases = all_cases();
  for (const Case& each : cases) {
    const auto body = [&](benchmark::State& state) {
      try {
        const KernelResult result = bench.measure(each, state);
        if (each.kernel == "copy" && each.shape == cases.front().shape)
          report.set_ceiling("copy", result.tbps());
        if (each.kernel == "product, ceiling BF16") report.set_ceiling("bf16", result.tflops());
        if (each.kernel == "product, ceiling E4M3") report.set_ceiling("fp8", result.tflops());
        report.add(result);
      } catch (const std::exception& error) {
        report.fail(each.kernel + " " + each.shape, error.what());
        state.SkipWithError(error.what());
      }
    };
    const std::string name =
        each.kernel + "/" + each.shape + (each.sms > 0 ? "/sms:" + std::to_string(each.sms) : "");
    benchmark::RegisterBenchmark(name.c_str(), body)->UseManualTime()->Iterations(kSamples);
  }
  BenchReport::print_heading();
  SilentReporter silent;
  benchmark::RunSpecifiedBenchmarks(&silent);
  return 0;
}

}  // namespace
}  // namespace orrery::cuda

int main(int argc, char** argv) {
  return orrery::cuda::run(argc, argv);
}
