#include "kernels/host_kernels.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

namespace orrery::kernels {
namespace {

std::vector<double> ramp(std::size_t count, double step) {
  std::vector<double> values;
  for (std::size_t at = 0; at < count; ++at) values.push_back(std::sin(step * double(at + 1)));
  return values;
}

TEST_CASE("a linear layer of the host's set is y = x w^T with both of its gradients") {
  const std::int64_t rows = 5, outputs = 3, inputs = 7;
  const LinearShape shape{rows, outputs, inputs, ProductType::kFp8};  // the host narrows nothing
  const auto x = ramp(35, 0.3), w = ramp(21, 0.7), dy = ramp(15, 1.1);
  std::vector<double> y(15), dx(35, 1), dw(21, 1);
  KernelSet<double>& set = host_kernels<double>();
  set.linear(shape, x.data(), w.data(), y.data());
  set.linear_input_gradient(shape, dy.data(), w.data(), dx.data(), true);
  set.linear_weight_gradient(shape, dy.data(), x.data(), dw.data());
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t out = 0; out < outputs; ++out) {
      double sum = 0;
      for (std::int64_t in = 0; in < inputs; ++in)
        sum += x[std::size_t(row * inputs + in)] * w[std::size_t(out * inputs + in)];
      CHECK(y[std::size_t(row * outputs + out)] == Approx(sum));
    }
    for (std::int64_t in = 0; in < inputs; ++in) {
      double sum = 1;
      for (std::int64_t out = 0; out < outputs; ++out)
        sum += dy[std::size_t(row * outputs + out)] * w[std::size_t(out * inputs + in)];
      CHECK(dx[std::size_t(row * inputs + in)] == Approx(sum));
    }
  }
  for (std::int64_t out = 0; out < outputs; ++out) {
    for (std::int64_t in = 0; in < inputs; ++in) {
      double sum = 1;
      for (std::int64_t row = 0; row < rows; ++row)
        sum += dy[std::size_t(row * outputs + out)] * x[std::size_t(row * inputs + in)];
      CHECK(dw[std::size_t(out * inputs + in)] == Approx(sum));
    }
  }
}

TEST_CASE("cross-entropy of an undivided vocabulary is that of its three steps, to the bit") {
  const CrossEntropyShape shape{4, 0, 6};
  const std::int32_t targets[] = {1, kIgnoredTarget, 5, 0};
  const auto logits = ramp(24, 0.9);
  std::vector<double> gradient = logits, steps = logits, loss(4), expected(4);
  std::vector<double> max(4), sum(4), target(4);
  host_kernels<double>().cross_entropy(shape, targets, 0.5, gradient.data(), loss.data());
  cross_entropy_statistics<double>(shape, steps.data(), targets, max.data(), sum.data(),
                                   target.data());
  cross_entropy_loss<double>(4, targets, max.data(), sum.data(), target.data(), expected.data());
  cross_entropy_gradient<double>(shape, targets, max.data(), sum.data(), 0.5, steps.data());
  CHECK(loss == expected);
  CHECK(gradient == steps);
  CHECK(loss[1] == 0);
}

TEST_CASE("an element-wise sum may be written to one of its operands") {
  std::vector<float> a = {1, 2, 3}, b = {10, 20, 30};
  host_kernels<float>().add(3, a.data(), b.data(), a.data());
  CHECK(a == std::vector<float>{11, 22, 33});
  CHECK(host_kernels<float>().squared_sum(3, b.data()) == 1400);
}

}  // namespace
}  // namespace orrery::kernels
