#include "kernels/rounded_kernels.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

namespace orrery::kernels {
namespace {

std::vector<float> wave(std::int64_t count, double step) {
  std::vector<float> values;
  for (std::int64_t at = 0; at < count; ++at)
    values.push_back(static_cast<float>(std::sin(step * static_cast<double>(at + 1))));
  return values;
}

bool all_bf16(const std::vector<float>& values) {
  for (const float value : values) {
    if (to_float(to_bf16(value)) != value) return false;
  }
  return true;
}

TEST_CASE("results are BF16 where a GPU stores BF16, and float where it keeps float") {
  RoundedKernels set;
  const auto x = wave(6 * 8, 0.3), w = wave(4 * 8, 0.7);
  std::vector<float> y(24), logits(24), dw(32, 0);
  set.linear({6, 4, 8, ProductType::kBf16}, x.data(), w.data(), y.data());
  set.linear({6, 4, 8, ProductType::kFloat}, x.data(), w.data(), logits.data());
  set.linear_weight_gradient({6, 4, 8, ProductType::kBf16}, y.data(), x.data(), dw.data());
  CHECK(all_bf16(y));
  CHECK_FALSE(all_bf16(logits));
  CHECK_FALSE(all_bf16(dw));
  for (std::size_t at = 0; at < y.size(); ++at) CHECK(y[at] == to_float(to_bf16(logits[at])));
  std::vector<float> sum(48);
  set.add(48, x.data(), wave(48, 0.9).data(), sum.data());
  CHECK(all_bf16(sum));
}

TEST_CASE("what a cast to FP8 stored is an operand of a product without another rounding") {
  RoundedKernels set;
  const std::int64_t rows = 200, inner = 160, outputs = 130;
  std::vector<float> x = wave(rows * inner, 0.37), w = wave(outputs * inner, 0.11);
  set.quantise({rows, inner}, Tiles::kRows, x.data(), x.data());
  set.quantise({outputs, inner}, Tiles::kBlocks, w.data(), w.data());
  std::vector<float> y(rows * outputs), expected(rows * outputs);
  set.linear({rows, outputs, inner, ProductType::kFp8}, x.data(), w.data(), y.data());
  host_kernels<float>().linear({rows, outputs, inner}, x.data(), w.data(), expected.data());
  double error = 0, scale = 0;
  for (std::size_t at = 0; at < y.size(); ++at) {
    error += std::pow(y[at] - expected[at], 2);
    scale += std::pow(expected[at], 2);
  }
  CHECK(std::sqrt(error / scale) < 2e-3);  // the result's rounding to BF16 alone
}

TEST_CASE("the weight gradients of experts take the tiles that the cast made of all rows") {
  RoundedKernels set;
  const std::vector<std::int64_t> offsets = {0, 100, 300};
  const GroupedShape shape{2, 8, 16, offsets.data()};
  std::vector<float> x = wave(300 * 16, 0.37), dy = wave(300 * 8, 0.21);
  set.quantise({300, 16}, Tiles::kColumns, x.data(), x.data());
  set.quantise({300, 8}, Tiles::kColumns, dy.data(), dy.data());
  std::vector<float> found(2 * 8 * 16, 1), expected(2 * 8 * 16, 1);
  set.grouped_weight_gradient(shape, ProductType::kFp8, x.data(), dy.data(), found.data());
  host_kernels<float>().grouped_weight_gradient(shape, ProductType::kFp8, x.data(), dy.data(),
                                                expected.data());
  for (std::size_t at = 0; at < found.size(); ++at)
    CHECK(found[at] == Approx(expected[at]).epsilon(1e-5));
}

TEST_CASE("rows in E4M3 are copied as their codes stand") {
  RoundedKernels set;
  std::vector<float> x = wave(2 * 130, 0.53);
  set.quantise({2, 130}, Tiles::kRows, x.data(), x.data());
  const std::int32_t token_of_row[] = {1, 0, 1};
  std::vector<float> out(3 * 130), narrow(3 * 130);
  set.expand_rows(3, 130, RowType::kFp8, 2, token_of_row, x.data(), out.data());
  set.expand_rows(3, 130, RowType::kBf16, 2, token_of_row, x.data(), narrow.data());
  for (std::int64_t at = 0; at < 130; ++at) {
    CHECK(out[std::size_t(at)] == Approx(x[std::size_t(130 + at)]).epsilon(1e-6));
    CHECK(out[std::size_t(130 + at)] == Approx(x[std::size_t(at)]).epsilon(1e-6));
  }
  CHECK(all_bf16(narrow));
}

}  // namespace
}  // namespace orrery::kernels
