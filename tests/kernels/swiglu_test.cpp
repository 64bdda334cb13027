#include "kernels/swiglu.hpp"

#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

template <class T>
std::vector<T> activated(SwigluShape shape, const std::vector<T>& gate_up,
                         const std::vector<T>& row_weight) {
  std::vector<T> out = poisoned<T>(shape.rows * shape.inter);
  swiglu_forward(shape, gate_up.data(), row_weight.empty() ? nullptr : row_weight.data(),
                 out.data());
  return out;
}

TEST_CASE("Gate and up are the halves of a row") {
  // silu(ln 3) = ln 3 * 3/4; silu(0) = 0. The second row has weight 2.
  const double ln3 = std::log(3);
  const std::vector<double> gate_up = {ln3, 0, 8, 5, -ln3, ln3, 1, 4};
  const std::vector<double> out = activated<double>({2, 2}, gate_up, {1, 2});
  CHECK(out[0] == Approx(6 * ln3).epsilon(1e-15));
  CHECK(out[1] == 0);
  CHECK(out[2] == Approx(-ln3 / 4 * 2).epsilon(1e-15));
  CHECK(out[3] == Approx(ln3 * 3 * 2).epsilon(1e-15));
  CHECK(activated<double>({2, 2}, gate_up, {})[3] == Approx(ln3 * 3).epsilon(1e-15));
}

TEMPLATE_TEST_CASE("Gates far from zero give neither infinity nor NaN", "", float, double) {
  const std::vector<TestType> gate_up = {-5000, 5000, 2, 2}, dout = {1, 1};
  const std::vector<TestType> out = activated<TestType>({1, 2}, gate_up, {});
  CHECK(out[0] == 0);
  CHECK(out[1] == 10000);
  std::vector<TestType> dgate_up = poisoned<TestType>(4);
  swiglu_backward_input<TestType>({1, 2}, gate_up.data(), nullptr, dout.data(), dgate_up.data());
  CHECK(dgate_up == std::vector<TestType>{0, 2, 0, 5000});
}

TEST_CASE("The gradients of the gated activation are those of its forward") {
  using Vector = std::vector<double>;
  for (const std::int64_t rows : {0, 1, 127, 129})
    for (const std::int64_t inter : {1, 21})
      for (const bool weighted : {false, true}) {
        const SwigluShape shape{rows, inter};
        const Vector gate_up = random_vector(rows * 2 * inter, 1);
        const Vector row_weight = weighted ? random_vector(rows, 2) : Vector{};
        check_derivative(
            gate_up,
            [&]<class T>(const std::vector<T>& x) {
              return activated<T>(shape, x, converted<T>(row_weight));
            },
            [&](const Vector& x, const Vector& dout) {
              Vector dx = poisoned(rows * 2 * inter);
              swiglu_backward_input(shape, x.data(),
                                    row_weight.empty() ? nullptr : row_weight.data(), dout.data(),
                                    dx.data());
              return dx;
            });
        if (!weighted) continue;
        check_derivative(
            row_weight,
            [&]<class T>(const std::vector<T>& weight) {
              return activated<T>(shape, converted<T>(gate_up), weight);
            },
            [&](const Vector&, const Vector& dout) {
              Vector dweight = poisoned(rows);
              swiglu_row_weight_gradient(shape, gate_up.data(), dout.data(), dweight.data());
              return dweight;
            });
      }
}

TEST_CASE("The gradient of the gated activation may replace its input") {
  const SwigluShape shape{4, 5};
  std::vector<double> gate_up = random_vector(40, 1), dgate_up = poisoned(40);
  const std::vector<double> dout = random_vector(20, 2), weight = random_vector(4, 3);
  swiglu_backward_input(shape, gate_up.data(), weight.data(), dout.data(), dgate_up.data());
  swiglu_backward_input(shape, gate_up.data(), weight.data(), dout.data(), gate_up.data());
  CHECK(gate_up == dgate_up);
}

}  // namespace
}  // namespace orrery::kernels
