#include "kernels/adamw.hpp"

#include "core/error.hpp"
#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

// Two steps by hand, with learning rate 0.1, beta1 0.5, beta2 0.75, epsilon 1, decay 0.5, from
// p = 2, gradients 4 and -2 (stored 8 and -4, scaled by a half):
//
//   t = 1: m = 2, v = 4; corrected 2 / (1 - 0.5) = 4, 4 / (1 - 0.75) = 16
//          p = 2 - 0.1 (4 / (4 + 1) + 0.5 * 2) = 2 - 0.1 * 1.8 = 1.82
//   t = 2: m = 0.5 * 2 + 0.5 * -2 = 0, v = 0.75 * 4 + 0.25 * 4 = 4; corrected 0, 4 / 0.4375
//          p = 1.82 - 0.1 (0 + 0.5 * 1.82) = 1.729
//   t = 3, gradient 3 (stored 6): m = 1.5, v = 3 + 2.25 = 5.25;
//          corrected 1.5 / 0.875 = 12/7, 5.25 / 0.578125
TEMPLATE_PRODUCT_TEST_CASE("Steps of AdamW, by hand", "", (std::pair),
                           ((double, double), (double, float), (double, Bf16), (float, double),
                            (float, float), (float, Bf16))) {
  using T = typename TestType::first_type;
  using M = typename TestType::second_type;
  const double tolerance = sizeof(T) == sizeof(float) ? 1e-6 : 1e-14;
  AdamwStep step{0.1, 0.5, 0.75, 1, 0.5, 0.5, 1};
  T parameter = 2;
  M m{}, v{};  // all these moments are exact even in Bf16 (8 significant bits)
  const auto value = [](M moment) {
    if constexpr (std::is_same_v<M, Bf16>)
      return static_cast<double>(to_float(moment));
    else
      return static_cast<double>(moment);
  };
  T gradient = 8;
  adamw(1, step, &gradient, &parameter, &m, &v);
  CHECK(parameter == Approx(1.82).epsilon(tolerance));
  CHECK(value(m) == 2);
  CHECK(value(v) == 4);
  step.step = 2;
  gradient = -4;
  adamw(1, step, &gradient, &parameter, &m, &v);
  CHECK(parameter == Approx(1.729).epsilon(tolerance));
  CHECK(value(m) == 0);
  CHECK(value(v) == 4);
  step.step = 3;
  gradient = 6;
  adamw(1, step, &gradient, &parameter, &m, &v);
  CHECK(parameter == Approx(1.729 - 0.1 * (12.0 / 7 / (std::sqrt(5.25 / 0.578125) + 1) + 0.8645))
                         .epsilon(tolerance));
  CHECK(value(m) == 1.5);
  CHECK(value(v) == 5.25);
}

TEST_CASE("Moments in bfloat16 are rounded to nearest even, after the step has used them") {
  // beta = 0.5 and g = 2 (1 + 2^-8): m = 1 + 2^-8, a tie between 1 (even) and 1 + 2^-7, and
  // v = 2 (1 + 2^-8)^2 = 2 + 2^-6 + 2^-15, of which steps of 2^-6 keep 2 + 2^-6.
  const AdamwStep step{1, 0.5, 0.5, 0, 0, 1, 1};
  const double gradient = 2 * (1 + 0x1p-8);
  double parameter = 0;
  Bf16 m, v;
  adamw(1, step, &gradient, &parameter, &m, &v);
  CHECK(to_float(m) == 1);
  CHECK(to_float(v) == 2 + 0x1p-6f);
  // The corrected moments are g and g^2, so p moves by exactly one learning rate; with the rounded
  // ones it would not.
  CHECK(parameter == Approx(-1).epsilon(1e-15));
}

TEST_CASE("AdamW of a shard is bitwise the part of AdamW of the whole") {
  const std::int64_t n = 129;
  const AdamwStep step{1e-2, 0.9, 0.95, 1e-8, 0.1, 0.7, 5};
  const std::vector<double> gradient = random_vector(n, 1), start = random_vector(n, 2);
  const std::vector<double> m_start = random_vector(n, 3);
  std::vector<double> v_start = random_vector(n, 4);
  for (double& v : v_start) v *= v;
  std::vector<double> whole = start, m_whole = m_start, v_whole = v_start;
  adamw(n, step, gradient.data(), whole.data(), m_whole.data(), v_whole.data());
  std::vector<double> parts = start, m_parts = m_start, v_parts = v_start;
  for (const auto& [first, size] : {std::pair{0, 0}, {0, 1}, {1, 127}, {128, 1}})
    adamw(size, step, gradient.data() + first, parts.data() + first, m_parts.data() + first,
          v_parts.data() + first);
  CHECK(whole == parts);
  CHECK(m_whole == m_parts);
  CHECK(v_whole == v_parts);
  CHECK(whole != start);
}

TEST_CASE("A step before the first is a bug") {
  const double gradient = 0;
  double parameter = 0, m = 0, v = 0;
  AdamwStep step;
  step.step = 0;
  CHECK_THROWS_AS(adamw(1, step, &gradient, &parameter, &m, &v), Bug);
}

}  // namespace
}  // namespace orrery::kernels
