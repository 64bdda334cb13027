#include "kernels/cuda/attention.hpp"
#include "kernels/cuda/lt_gemm.hpp"
#include "kernels/fp8.hpp"
#include "tests/kernels/cuda/values.hpp"

namespace orrery::cuda {
namespace {

// D[m][n] of A[m][k] and B[n][k].
std::vector<double> product(std::int64_t m, std::int64_t n, std::int64_t k,
                            const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> d(size(m * n), 0);
  for (std::int64_t row = 0; row < m; ++row) {
    for (std::int64_t column = 0; column < n; ++column) {
      for (std::int64_t term = 0; term < k; ++term)
        d[size(row * n + column)] += a[size(row * k + term)] * b[size(column * k + term)];
    }
  }
  return d;
}

// Says so where the device has no such products; the test then has nothing to check.
bool without_fp8() {
  if (multiplies_fp8()) return false;
  WARN("not checked: this device has no products of E4M3");
  return true;
}

TEST_CASE("products in BF16") {
  const std::int64_t m = 136, n = 256, k = 384;
  const LtLibrary library;
  const auto a = random_bf16(m * k, 19), b = random_bf16(n * k, 20);
  const Device<Bf16> device_a(a), device_b(b);
  auto d = poisoned<Bf16>(m * n);
  LtGemm gemm(library, {LtPrecision::kBf16, m, n, k});
  const LtOperands operands{device_a.get(), device_b.get(), nullptr, nullptr, d.get()};
  gemm.tune(operands, nullptr);
  gemm.run(operands, nullptr);
  CHECK(difference(doubles(d.host()), product(m, n, k, doubles(a), doubles(b))) < kBf16Tolerance);
}

// Codes [rows][k] with scales [k / 128][stride(rows)] as numbers.
std::vector<double> dequantised_rows(std::int64_t rows, std::int64_t k,
                                     const std::vector<std::uint8_t>& codes,
                                     const std::vector<float>& scales) {
  std::vector<double> out;
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t term = 0; term < k; ++term) {
      out.push_back(static_cast<double>(kernels::decode_e4m3(codes[size(row * k + term)])) *
                    scales[size(term / 128 * scale_stride(rows) + row)]);
    }
  }
  return out;
}

TEST_CASE("forward products in E4M3 against the dequantised operands") {
  if (without_fp8()) return;
  const std::int64_t m = 264, n = 384, k = 640;
  const LtLibrary library;
  const Device<Bf16> a(random_bf16(m * k, 21)), b(random_bf16(n * k, 22, 0.02));
  auto a_codes = poisoned<std::uint8_t>(m * k), b_codes = poisoned<std::uint8_t>(n * k);
  auto a_scales = poisoned<float>(k / 128 * scale_stride(m));
  auto b_scales = poisoned<float>(n / 128 * scale_stride(k / 128));
  quantise_rows(m, k, a.get(), a_codes.get(), a_scales.get(), nullptr);
  quantise_blocks(n, k, b.get(), b_codes.get(), b_scales.get(), nullptr);
  auto d = poisoned<Bf16>(m * n);
  LtGemm gemm(library, {LtPrecision::kFp8, m, n, k});
  gemm.run({a_codes.get(), b_codes.get(), a_scales.get(), b_scales.get(), d.get()}, nullptr);
  std::vector<double> host_b;
  const auto codes = b_codes.host();
  const auto scales = b_scales.host();
  for (std::int64_t row = 0; row < n; ++row) {
    for (std::int64_t term = 0; term < k; ++term) {
      host_b.push_back(static_cast<double>(kernels::decode_e4m3(codes[size(row * k + term)])) *
                       scales[size(row / 128 * scale_stride(k / 128) + term / 128)]);
    }
  }
  const auto host_a = dequantised_rows(m, k, a_codes.host(), a_scales.host());
  CHECK(difference(doubles(d.host()), product(m, n, k, host_a, host_b)) < 5e-3);
}

TEST_CASE("weight gradients in E4M3 add to what is there") {
  if (without_fp8()) return;
  const std::int64_t tokens = 384, out = 256, in = 512;
  const LtLibrary library;
  const Device<Bf16> dy(random_bf16(tokens * out, 23)), x(random_bf16(tokens * in, 24));
  auto dy_codes = poisoned<std::uint8_t>(tokens * out),
       x_codes = poisoned<std::uint8_t>(tokens * in);
  auto dy_scales = poisoned<float>(tokens / 128 * scale_stride(out));
  auto x_scales = poisoned<float>(tokens / 128 * scale_stride(in));
  quantise_columns(tokens, out, dy.get(), dy_codes.get(), dy_scales.get(), nullptr);
  quantise_columns(tokens, in, x.get(), x_codes.get(), x_scales.get(), nullptr);
  const auto before = random_floats(out * in, 25);
  const Device<float> d(before);
  LtGemm gemm(library, {LtPrecision::kFp8Weight, out, in, tokens, true});
  gemm.run({dy_codes.get(), x_codes.get(), dy_scales.get(), x_scales.get(), d.get()}, nullptr);
  auto expected =
      product(out, in, tokens, dequantised_rows(out, tokens, dy_codes.host(), dy_scales.host()),
              dequantised_rows(in, tokens, x_codes.host(), x_scales.host()));
  for (std::size_t at = 0; at < expected.size(); ++at) expected[at] += before[at];
  CHECK(difference(doubles(d.host()), expected) < 1e-3);
}

TEST_CASE("causal attention with 192 and 128 wide heads, and its gradients") {
  const kernels::AttentionShape shape{2, 256, 4, 192, 128};
  const double scale = 1 / std::sqrt(192.0);
  const std::int64_t wide = shape.tokens() * shape.heads * shape.qk_dim;
  const std::int64_t narrow = shape.tokens() * shape.heads * shape.v_dim;
  const std::int64_t rows = shape.tokens() * shape.heads;
  const auto q = random_bf16(wide, 26), k = random_bf16(wide, 27), v = random_bf16(narrow, 28),
             dout = random_bf16(narrow, 29);
  const Device<Bf16> dq_in(q), dk_in(k), dv_in(v), dout_in(dout);
  auto out = poisoned<Bf16>(narrow), dq = poisoned<Bf16>(wide), dk = poisoned<Bf16>(wide),
       dv = poisoned<Bf16>(narrow);
  auto lse = poisoned<float>(rows);
  const CudnnLibrary library;
  const AttentionForward forward(library, shape, static_cast<float>(scale));
  forward.run(dq_in.get(), dk_in.get(), dv_in.get(), out.get(), lse.get(), nullptr);
  check(cudaDeviceSynchronize(), "attention forward");
  const auto host_q = doubles(q), host_k = doubles(k), host_v = doubles(v),
             host_dout = doubles(dout);
  std::vector<double> host_out(size(narrow)), host_lse(size(rows)), delta(size(rows)),
      host_dq(size(wide)), host_dk(size(wide)), host_dv(size(narrow));
  kernels::attention_forward<double>(shape, scale, host_q.data(), host_k.data(), host_v.data(),
                                     host_out.data(), host_lse.data());
  CHECK(difference(doubles(out.host()), host_out) < 1e-2);
  if (without_wide_backward()) return;
  const AttentionBackward backward(library, shape, static_cast<float>(scale));
  backward.run(dq_in.get(), dk_in.get(), dv_in.get(), out.get(), dout_in.get(), lse.get(), dq.get(),
               dk.get(), dv.get(), nullptr);
  // Once more: nothing of one run is left in the next.
  backward.run(dq_in.get(), dk_in.get(), dv_in.get(), out.get(), dout_in.get(), lse.get(), dq.get(),
               dk.get(), dv.get(), nullptr);
  check(cudaDeviceSynchronize(), "attention backward");
  kernels::attention_backward_delta<double>(shape, host_out.data(), host_dout.data(), delta.data());
  kernels::attention_backward<double>(shape, scale, host_q.data(), host_k.data(), host_v.data(),
                                      host_dout.data(), host_lse.data(), delta.data(),
                                      host_dq.data(), host_dk.data(), host_dv.data());
  CHECK(difference(doubles(dq.host()), host_dq) < 1e-2);
  CHECK(difference(doubles(dk.host()), host_dk) < 1e-2);
  CHECK(difference(doubles(dv.host()), host_dv) < 1e-2);
}

}  // namespace
}  // namespace orrery::cuda
