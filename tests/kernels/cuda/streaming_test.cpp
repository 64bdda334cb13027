#include <cstring>

#include "kernels/cross_entropy.hpp"
#include "kernels/cuda/adamw.hpp"
#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/cross_entropy.hpp"
#include "kernels/cuda/permute.hpp"
#include "kernels/cuda/rms_norm.hpp"
#include "kernels/cuda/rope.hpp"
#include "kernels/cuda/router.hpp"
#include "kernels/cuda/swiglu.hpp"
#include "kernels/fp8_tiles.hpp"
#include "kernels/permute.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope.hpp"
#include "kernels/router.hpp"
#include "kernels/swiglu.hpp"
#include "tests/kernels/cuda/values.hpp"

namespace orrery::cuda {
namespace {

TEST_CASE("codes and scales of rows, columns and blocks are the host's bit for bit") {
  const std::int64_t rows = 384, columns = 256;
  std::vector<Bf16> x = random_bf16(rows * columns, 1);
  for (std::int64_t at = 0; at < 128; ++at) x[size(at)] = __float2bfloat16(0);  // a tile of zeros
  const std::vector<double> host_x = doubles(x);
  const Device<Bf16> device_x(x);
  auto codes = poisoned<std::uint8_t>(rows * columns);
  std::vector<std::uint8_t> expected(size(rows * columns));

  auto scales = poisoned<float>(columns / 128 * scale_stride(rows));
  std::vector<float> expected_scales(size(rows * columns / 128));
  quantise_rows(rows, columns, device_x.get(), codes.get(), scales.get(), nullptr);
  kernels::quantise_rows<double>({rows, columns}, host_x.data(), expected.data(),
                                 expected_scales.data());
  CHECK(codes.host() == expected);
  CHECK(host_scales(scales.host(), rows, columns / 128) == expected_scales);

  auto column_scales = poisoned<float>(rows / 128 * scale_stride(columns));
  codes.fill(0xff);
  quantise_columns(rows, columns, device_x.get(), codes.get(), column_scales.get(), nullptr);
  kernels::quantise_columns<double>({rows, columns}, host_x.data(), expected.data(),
                                    expected_scales.data());
  std::vector<std::uint8_t> transposed(expected.size());
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column)
      transposed[size(column * rows + row)] = expected[size(row * columns + column)];
  }
  CHECK(codes.host() == transposed);
  // Both are [tile][column]; the stride is the number of columns.
  CHECK(column_scales.host() == expected_scales);

  auto block_scales = poisoned<float>(rows / 128 * scale_stride(columns / 128));
  std::vector<float> expected_blocks(size(rows / 128 * columns / 128));
  codes.fill(0xff);
  quantise_blocks(rows, columns, device_x.get(), codes.get(), block_scales.get(), nullptr);
  kernels::quantise_blocks<double>({rows, columns}, host_x.data(), expected.data(),
                                   expected_blocks.data());
  CHECK(codes.host() == expected);
  const std::vector<float> found = block_scales.host();
  for (std::int64_t row = 0; row < rows / 128; ++row) {
    for (std::int64_t column = 0; column < columns / 128; ++column) {
      CHECK(found[size(row * scale_stride(columns / 128) + column)] ==
            expected_blocks[size(row * (columns / 128) + column)]);
    }
  }
}

TEST_CASE("RMSNorm and its gradients") {
  const auto [rows, columns] =
      GENERATE(std::pair(0, 512), std::pair(1, 512), std::pair(127, 1536), std::pair(129, 1536),
               std::pair(0, 7168), std::pair(1, 7168), std::pair(129, 7168), std::pair(1100, 4096));
  CAPTURE(rows, columns);
  const auto x = random_bf16(rows * columns, 2), dy = random_bf16(rows * columns, 3);
  const auto weight = random_floats(columns, 4);
  const Device<Bf16> dx_in(dy), device_x(x);
  const Device<float> device_weight(weight);
  auto y = poisoned<Bf16>(rows * columns), dx = poisoned<Bf16>(rows * columns);
  auto rms = poisoned<float>(rows);
  Device<float> dweight(std::vector<float>(size(columns), 0));
  rms_norm_forward(rows, columns, device_x.get(), device_weight.get(), 1e-6f, y.get(), rms.get(),
                   nullptr);
  rms_norm_backward_input(rows, columns, device_x.get(), device_weight.get(), rms.get(),
                          dx_in.get(), dx.get(), nullptr);
  rms_norm_backward_weight(rows, columns, device_x.get(), rms.get(), dx_in.get(), dweight.get(),
                           nullptr);
  const auto host_x = doubles(x), host_dy = doubles(dy), host_weight = doubles(weight);
  std::vector<double> host_y(size(rows * columns)), host_dx(size(rows * columns));
  std::vector<double> host_rms(size(rows)), host_dweight(size(columns), 0);
  const kernels::RmsNormShape shape{rows, columns};
  kernels::rms_norm_forward<double>(shape, host_x.data(), host_weight.data(), 1e-6, host_y.data(),
                                    host_rms.data());
  kernels::rms_norm_backward_input<double>(shape, host_x.data(), host_weight.data(),
                                           host_rms.data(), host_dy.data(), host_dx.data());
  kernels::rms_norm_backward_weight<double>(shape, host_x.data(), host_rms.data(), host_dy.data(),
                                            host_dweight.data());
  CHECK(difference(doubles(y.host()), host_y) < kBf16Tolerance);
  CHECK(difference(doubles(dx.host()), host_dx) < kBf16Tolerance);
  CHECK(difference(doubles(dweight.host()), host_dweight) < 1e-4);
  CHECK(difference(doubles(rms.host()), host_rms) < 1e-5);

  // With codes: those of the BF16 result.
  rms.fill(0xff);
  auto codes = poisoned<std::uint8_t>(rows * columns);
  auto scales = poisoned<float>(columns / 128 * scale_stride(rows));
  rms_norm_forward_fp8(rows, columns, device_x.get(), device_weight.get(), 1e-6f, codes.get(),
                       scales.get(), rms.get(), nullptr);
  CHECK(difference(doubles(rms.host()), host_rms) < 1e-5);
  auto again = poisoned<std::uint8_t>(rows * columns);
  auto again_scales = poisoned<float>(columns / 128 * scale_stride(rows));
  quantise_rows(rows, columns, y.get(), again.get(), again_scales.get(), nullptr);
  CHECK(codes.host() == again.host());
  CHECK(host_scales(scales.host(), rows, columns / 128) ==
        host_scales(again_scales.host(), rows, columns / 128));
}

TEST_CASE("SwiGLU and its gradient") {
  // 2176 columns are more than a block has.
  const auto [rows, inter] = GENERATE(std::pair(0, 256), std::pair(1, 256), std::pair(127, 256),
                                      std::pair(129, 256), std::pair(5, 2176));
  CAPTURE(rows, inter);
  const auto gate_up = random_bf16(rows * 2 * inter, 5, 3), dout = random_bf16(rows * inter, 6);
  const auto weights = random_floats(rows, 7);
  const Device<Bf16> device_gate_up(gate_up), device_dout(dout);
  const Device<float> device_weights(weights);
  auto out = poisoned<Bf16>(rows * inter), gradient = poisoned<Bf16>(rows * 2 * inter);
  swiglu_forward(rows, inter, device_gate_up.get(), device_weights.get(), out.get(), nullptr);
  swiglu_backward_input(rows, inter, device_gate_up.get(), device_weights.get(), device_dout.get(),
                        gradient.get(), nullptr);
  const auto x = doubles(gate_up), p = doubles(weights), dy = doubles(dout);
  std::vector<double> host_out(size(rows * inter)), host_gradient(size(rows * 2 * inter));
  kernels::swiglu_forward<double>({rows, inter}, x.data(), p.data(), host_out.data());
  kernels::swiglu_backward_input<double>({rows, inter}, x.data(), p.data(), dy.data(),
                                         host_gradient.data());
  CHECK(difference(doubles(out.host()), host_out) < kBf16Tolerance);
  CHECK(difference(doubles(gradient.host()), host_gradient) < kBf16Tolerance);
  auto codes = poisoned<std::uint8_t>(rows * inter), again = poisoned<std::uint8_t>(rows * inter);
  auto scales = poisoned<float>(inter / 128 * scale_stride(rows));
  auto again_scales = poisoned<float>(inter / 128 * scale_stride(rows));
  swiglu_forward_fp8(rows, inter, device_gate_up.get(), device_weights.get(), codes.get(),
                     scales.get(), nullptr);
  quantise_rows(rows, inter, out.get(), again.get(), again_scales.get(), nullptr);
  CHECK(codes.host() == again.host());
  CHECK(host_scales(scales.host(), rows, inter / 128) ==
        host_scales(again_scales.host(), rows, inter / 128));
}

TEST_CASE("RoPE turns its slice and leaves the rest alone; backwards it turns back") {
  // 70 heads are more than a block's threads take at once; of slices of 8 it takes many tokens.
  const auto [heads, dim] = GENERATE(std::pair(3, 64), std::pair(70, 64), std::pair(1, 8));
  const std::int64_t rows = 129, stride = 192, offset = 128;
  CAPTURE(heads, dim);
  const auto x = random_bf16(rows * heads * stride, 8);
  std::vector<std::int32_t> positions;
  for (int row = 0; row < rows; ++row) positions.push_back(row % 100);
  const Device<std::int32_t> device_positions(positions);
  const Device<float> table(rope_table(100, dim, 10000));
  const kernels::RopeShape shape{rows, heads, stride, offset, dim};
  for (const bool backward : {false, true}) {
    const Device<Bf16> device_x(x);
    rope(rows, heads, stride, offset, dim, device_positions.get(), table.get(), backward,
         device_x.get(), nullptr);
    std::vector<double> host = doubles(x);
    if (backward) {
      kernels::rope_backward<double>(shape, positions.data(), 10000, host.data());
    } else {
      kernels::rope_forward<double>(shape, positions.data(), 10000, host.data());
    }
    CHECK(difference(doubles(device_x.host()), host) < kBf16Tolerance);
  }
}

TEST_CASE("the router chooses, weighs and counts as the host does, ties too") {
  const std::int64_t tokens = 129;
  const int top_k = 8, groups_per_token = 4;
  const kernels::RouterShape shape{tokens, kRouterExperts, kRouterGroups, groups_per_token, top_k};
  auto logits = random_floats(tokens * kRouterExperts, 9);
  const auto bias = random_floats(kRouterExperts, 10, 0.05);
  // Many equal scores.
  for (std::int64_t at = 0; at < 8 * kRouterExperts; ++at)
    logits[size(at)] = static_cast<float>(static_cast<int>(logits[size(at)] * 2));
  const Device<float> device_logits(logits), device_bias(bias);
  auto scores = poisoned<float>(tokens * kRouterExperts), weights = poisoned<float>(tokens * top_k);
  auto choice = poisoned<std::int32_t>(tokens * top_k);
  Device<unsigned long long> counts(std::vector<unsigned long long>(kRouterExperts, 0));
  router(tokens, groups_per_token, top_k, 2.5f, device_logits.get(), device_bias.get(),
         scores.get(), choice.get(), weights.get(), counts.get(), nullptr);
  // The host chooses on the device's scores: a score may differ in its last bit.
  const std::vector<float> device_scores = scores.host();
  std::vector<float> host_scores_of(size(tokens * kRouterExperts));
  kernels::router_scores<float>(shape, logits.data(), host_scores_of.data());
  CHECK(difference(doubles(device_scores), doubles(host_scores_of)) < 1e-6);
  std::vector<std::int32_t> groups(size(tokens * kRouterGroups)), expected(size(tokens * top_k));
  std::vector<float> expected_weights(size(tokens * top_k));
  kernels::router_choose_groups<float>(shape, device_scores.data(), bias.data(), groups.data());
  kernels::router_choose_experts<float>(shape, device_scores.data(), bias.data(), groups.data(),
                                        expected.data());
  kernels::router_weights<float>(shape, device_scores.data(), expected.data(), 2.5,
                                 expected_weights.data());
  CHECK(choice.host() == expected);
  CHECK(difference(doubles(weights.host()), doubles(expected_weights)) < 1e-6);
  std::vector<std::int64_t> expected_counts(kRouterExperts, 0);
  kernels::router_count(shape, expected.data(), expected_counts.data());
  const auto found_counts = counts.host();
  CHECK(std::vector<std::int64_t>(found_counts.begin(), found_counts.end()) == expected_counts);

  Device<float> moved(bias);
  router_update_bias(kRouterExperts, counts.get(), 1e-3f, moved.get(), nullptr);
  std::vector<float> expected_bias = bias;
  kernels::router_update_bias<float>(kRouterExperts, expected_counts.data(), 1e-3,
                                     expected_bias.data());
  CHECK(difference(doubles(moved.host()), doubles(expected_bias)) < 1e-6);
}

TEST_CASE("rows are expanded and reduced as on the host; experts have 0, 1, 127 and 129 rows") {
  const std::int64_t tokens = 160, slots = 4, hidden = 512;
  const kernels::PermuteShape shape{tokens, slots, 0, 4};
  std::vector<std::int32_t> experts(size(tokens * slots), -1);
  for (std::int64_t token = 0; token < tokens; ++token) {
    if (token < 1) experts[size(token * slots)] = 1;
    if (token < 127) experts[size(token * slots + 1)] = 2;
    if (token >= 31) experts[size(token * slots + 2)] = 3;
  }
  std::vector<std::int64_t> offsets(5);
  kernels::count_expert_rows(shape, experts.data(), offsets.data());
  REQUIRE(offsets == std::vector<std::int64_t>{0, 0, 1, 128, 257});
  const std::int64_t rows = offsets.back();
  std::vector<std::int32_t> row_of(size(tokens * slots)), token_of(size(rows)), slot_of(size(rows));
  kernels::map_rows(shape, experts.data(), offsets.data(), row_of.data(), token_of.data(),
                    slot_of.data());
  const auto x = random_bf16(tokens * hidden, 11), y = random_bf16(rows * hidden, 12);
  const Device<Bf16> device_x(x), device_y(y);
  const Device<std::int32_t> device_rows(row_of);
  auto expanded = poisoned<Bf16>(rows * hidden), reduced = poisoned<Bf16>(tokens * hidden);
  expand_rows(tokens, slots, hidden, device_rows.get(), device_x.get(), expanded.get(), nullptr);
  reduce_rows(tokens, slots, hidden, device_rows.get(), device_y.get(), reduced.get(), nullptr);
  const auto host_x = doubles(x), host_y = doubles(y);
  std::vector<double> host_expanded(size(rows * hidden)), host_reduced(size(tokens * hidden));
  kernels::expand_rows<double>(rows, hidden, token_of.data(), host_x.data(), host_expanded.data());
  kernels::reduce_rows<double>(shape, hidden, row_of.data(), host_y.data(), host_reduced.data());
  CHECK(doubles(expanded.host()) == host_expanded);
  CHECK(difference(doubles(reduced.host()), host_reduced) < kBf16Tolerance);
}

TEST_CASE("cross-entropy and its gradient, a token that does not count too") {
  const std::int64_t tokens = 129, vocab = 4104;
  const auto logits = random_bf16(tokens * vocab, 13, 4);
  std::vector<std::int32_t> targets;
  for (int token = 0; token < tokens; ++token)
    targets.push_back(token % 17 == 3 ? kernels::kIgnoredTarget : token * 31 % 4104);
  const Device<Bf16> device_logits(logits);
  const Device<std::int32_t> device_targets(targets);
  auto loss = poisoned<float>(tokens);
  cross_entropy(tokens, vocab, device_targets.get(), 0.5f, device_logits.get(), loss.get(),
                nullptr);
  std::vector<double> host = doubles(logits), max(size(tokens)), sum(size(tokens)),
                      target(size(tokens)), host_loss(size(tokens));
  const kernels::CrossEntropyShape shape{tokens, 0, vocab};
  kernels::cross_entropy_statistics<double>(shape, host.data(), targets.data(), max.data(),
                                            sum.data(), target.data());
  kernels::cross_entropy_loss<double>(tokens, targets.data(), max.data(), sum.data(), target.data(),
                                      host_loss.data());
  kernels::cross_entropy_gradient<double>(shape, targets.data(), max.data(), sum.data(), 0.5,
                                          host.data());
  CHECK(difference(doubles(loss.host()), host_loss) < 1e-5);
  CHECK(difference(doubles(device_logits.host()), host) < kBf16Tolerance);
}

TEST_CASE("a step of AdamW with BF16 moments") {
  const std::int64_t n = 1032;
  kernels::AdamwStep step;
  step.learning_rate = 1e-2;
  step.step = 3;
  step.gradient_scale = 0.7;
  auto parameter = random_floats(n, 14);
  const auto gradient = random_floats(n, 15);
  std::vector<kernels::Bf16> first, second;
  for (float value : random_floats(n, 16)) first.push_back(kernels::to_bf16(value));
  for (float value : random_floats(n, 17)) second.push_back(kernels::to_bf16(value * value));
  std::vector<Bf16> device_first_values(size(n)), device_second_values(size(n));
  std::memcpy(static_cast<void*>(device_first_values.data()), first.data(), first.size() * 2);
  std::memcpy(static_cast<void*>(device_second_values.data()), second.data(), second.size() * 2);
  const Device<float> device_parameter(parameter), device_gradient(gradient);
  const Device<Bf16> device_first(device_first_values), device_second(device_second_values);
  auto copied = poisoned<Bf16>(n);
  adamw(n, step, device_gradient.get(), device_parameter.get(), device_first.get(),
        device_second.get(), copied.get(), nullptr);
  kernels::adamw<float, kernels::Bf16>(n, step, gradient.data(), parameter.data(), first.data(),
                                       second.data());
  CHECK(difference(doubles(device_parameter.host()), doubles(parameter)) < 1e-6);
  CHECK(difference(doubles(copied.host()), doubles(parameter)) < kBf16Tolerance);
  std::vector<double> host_first, host_second;
  for (kernels::Bf16 value : first) host_first.push_back(kernels::to_float(value));
  for (kernels::Bf16 value : second) host_second.push_back(kernels::to_float(value));
  CHECK(difference(doubles(device_first.host()), host_first) < 1e-3);
  CHECK(difference(doubles(device_second.host()), host_second) < 1e-3);
}

TEST_CASE("copies by few blocks and by all are whole") {
  const std::int64_t n = 3 * 1024 * 1024 + 8;
  const auto x = random_bf16(n, 18);
  const Device<Bf16> from(x);
  for (const int blocks : {0, 1, 20}) {
    auto to = poisoned<Bf16>(n);
    copy(from.get(), to.get(), size(n) * 2, blocks, nullptr);
    CHECK(doubles(to.host()) == doubles(x));
  }
}

TEST_CASE("a paced copy is whole and takes as long as its link, however little it is", "[time]") {
  // 32 MiB and 16 bytes; a vector for three blocks of twenty; one for the first alone.
  const std::int64_t n = GENERATE(16 * 1024 * 1024 + 8, 3 * 8, 8);
  const double rate = 1e-3 * static_cast<double>(2 * n) * 1e6 / 1.7;  // for 1.7 ms
  CAPTURE(n);
  const auto x = random_bf16(n, 30);
  const Device<Bf16> from(x);
  auto to = poisoned<Bf16>(n);
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreate(&begin), "event");
  check(cudaEventCreate(&end), "event");
  check(cudaEventRecord(begin), "event");
  paced_copy(from.get(), to.get(), size(n) * 2, 20, rate, nullptr);
  check(cudaEventRecord(end), "event");
  check(cudaEventSynchronize(end), "event");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, begin, end), "event");
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  CHECK(doubles(to.host()) == doubles(x));
  CHECK(milliseconds >= 0.99 * 1.7);
  CHECK(milliseconds <= 1.2 * 1.7);
}

TEST_CASE("a paced copy that is longer than its room goes round in it") {
  const std::int64_t room = 64 << 10;  // bytes, the largest piece
  const auto x = random_bf16(room / 2, 31);
  const Device<Bf16> from(x);
  auto to = poisoned<Bf16>(room / 2);
  paced_copy(from.get(), to.get(), size(80 * room + 16), 4, 1e9, nullptr, size(room));
  check(cudaDeviceSynchronize(), "paced copy");
  CHECK(doubles(to.host()) == doubles(x));
}

}  // namespace
}  // namespace orrery::cuda
