// Rates of the host kernels on one core, in GFLOP/s for matrix products and GB/s (each operand and
// result once) for those that stream memory. They bound what a host run can reach, and say whether
// BLAS is worth linking.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <vector>

#include "kernels/adamw.hpp"
#include "kernels/blas.hpp"
#include "kernels/gemm.hpp"
#include "kernels/gemm_blocked.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/swiglu.hpp"

namespace orrery::kernels {
namespace {

template <class T>
std::vector<T> ramp(std::int64_t n) {
  std::vector<T> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(static_cast<T>(i % 17 - 8) / 8);
  return values;
}

void count_flops(benchmark::State& state, double flops_per_iteration) {
  state.counters["GFLOP/s"] =
      benchmark::Counter(flops_per_iteration * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void count_bytes(benchmark::State& state, double bytes_per_iteration) {
  state.counters["GB/s"] =
      benchmark::Counter(bytes_per_iteration * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

enum class Form { kNt, kNn, kTn };

template <class T, Form form>
void gemm(benchmark::State& state) {
  const GemmShape shape{state.range(0), state.range(1), state.range(2)};
  const auto [m, n, k] = shape;
  const std::vector<T> a = ramp<T>(m * k), b = ramp<T>(n * k);
  std::vector<T> c(static_cast<std::size_t>(m * n));
  for (auto _ : state) {
    if constexpr (form == Form::kNt) gemm_nt(shape, a.data(), k, b.data(), k, c.data(), n, false);
    if constexpr (form == Form::kNn) gemm_nn(shape, a.data(), k, b.data(), n, c.data(), n, false);
    if constexpr (form == Form::kTn) gemm_tn(shape, a.data(), m, b.data(), n, c.data(), n, true);
    benchmark::ClobberMemory();
  }
  count_flops(state, 2.0 * static_cast<double>(m * n * k));
  state.SetLabel(std::is_same_v<T, float> ? blas_name() : "plain C++");
}

// The product without BLAS: what a build without the library, or another processor, runs.
template <class T, Instructions instructions>
void gemm_plain(benchmark::State& state) {
  if (!is_available(instructions)) return state.SkipWithError("this processor lacks it");
  const std::int64_t size = state.range(0);
  const std::vector<T> a = ramp<T>(size * size), b = a;
  std::vector<T> c(a.size());
  for (auto _ : state) {
    gemm_blocked<T>({size, size, size}, {a.data(), size, 1}, {b.data(), 1, size}, c.data(), size,
                    false, instructions);
    benchmark::ClobberMemory();
  }
  count_flops(state, 2.0 * static_cast<double>(size * size * size));
}

// m, n, k: small layers of test models, one token block of a larger one, a single row.
void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"m", "n", "k"})
      ->Args({64, 64, 64})
      ->Args({256, 256, 256})
      ->Args({1024, 1024, 1024})
      ->Args({512, 2048, 7168})
      ->Args({1, 1024, 1024});
}

BENCHMARK(gemm<double, Form::kNt>)->Apply(sizes);
BENCHMARK(gemm<double, Form::kNn>)->Apply(sizes);
BENCHMARK(gemm<double, Form::kTn>)->Apply(sizes);
BENCHMARK(gemm<float, Form::kNt>)->Apply(sizes);
BENCHMARK(gemm<float, Form::kNn>)->Apply(sizes);
BENCHMARK(gemm<float, Form::kTn>)->Apply(sizes);
BENCHMARK(gemm_plain<double, Instructions::kBaseline>)->Arg(512);
BENCHMARK(gemm_plain<double, Instructions::kAvx2>)->Arg(512);
BENCHMARK(gemm_plain<float, Instructions::kBaseline>)->Arg(512);
BENCHMARK(gemm_plain<float, Instructions::kAvx2>)->Arg(512);

constexpr std::int64_t kRows = 512;
constexpr std::int64_t kColumns = 2048;

template <class T>
void rms_norm(benchmark::State& state) {
  const std::vector<T> x = ramp<T>(kRows * kColumns), weight = ramp<T>(kColumns);
  std::vector<T> y(x.size()), inverse(static_cast<std::size_t>(kRows));
  for (auto _ : state) {
    rms_norm_forward({kRows, kColumns}, x.data(), weight.data(), 1e-6, y.data(), inverse.data());
    benchmark::ClobberMemory();
  }
  count_bytes(state, 2.0 * sizeof(T) * static_cast<double>(kRows * kColumns));
}
BENCHMARK(rms_norm<float>);
BENCHMARK(rms_norm<double>);

template <class T>
void swiglu(benchmark::State& state) {
  const std::vector<T> gate_up = ramp<T>(2 * kRows * kColumns);
  std::vector<T> out(static_cast<std::size_t>(kRows * kColumns));
  for (auto _ : state) {
    swiglu_forward<T>({kRows, kColumns}, gate_up.data(), nullptr, out.data());
    benchmark::ClobberMemory();
  }
  count_bytes(state, 3.0 * sizeof(T) * static_cast<double>(kRows * kColumns));
}
BENCHMARK(swiglu<float>);
BENCHMARK(swiglu<double>);

template <class T, class M>
void adamw_shard(benchmark::State& state) {
  const std::int64_t n = 1 << 20;
  const std::vector<T> gradient = ramp<T>(n);
  std::vector<T> parameter = ramp<T>(n);
  std::vector<M> first_moment(gradient.size()), second_moment(gradient.size());
  AdamwStep step{.learning_rate = 1e-6};
  for (auto _ : state) {
    adamw(n, step, gradient.data(), parameter.data(), first_moment.data(), second_moment.data());
    benchmark::ClobberMemory();
  }
  // Gradient read; parameter and both moments read and written.
  count_bytes(state, static_cast<double>(n) * (3 * sizeof(T) + 4 * sizeof(M)));
}
BENCHMARK(adamw_shard<float, Bf16>);
BENCHMARK(adamw_shard<float, float>);
BENCHMARK(adamw_shard<double, double>);

}  // namespace
}  // namespace orrery::kernels
