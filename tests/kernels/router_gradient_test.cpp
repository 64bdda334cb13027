// The router's weights and balance loss with the choices frozen: their values and the gradient.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/router.hpp"
#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

using Indices = std::vector<std::int32_t>;
using Counts = std::vector<std::int64_t>;
using Vector = std::vector<double>;

// Two tokens, two experts, both choose the first: f = 2 / (1 x 2) x (2, 0) = (2, 0),
// P_0 = (0.8 + 0.6 / 1.2) / 2 = 0.65, loss = alpha x 2 x 0.65.
TEST_CASE("the balance loss of a small example") {
  const RouterShape shape{.tokens = 2, .experts = 2, .top_k = 1};
  const Vector scores{0.8, 0.2, 0.6, 0.6};
  const Indices sequence_of_token{0, 0};
  const Counts counts{2, 0};
  const BalanceLoss balance{.alpha = 0.5,
                            .length = 2,
                            .sequence_of_token = sequence_of_token.data(),
                            .counts = counts.data()};
  CHECK(balance_loss_terms(shape, balance, scores.data()) == Approx(0.65).epsilon(1e-14));
}

// f_i = 1 for every expert, and the P_i of a sequence add up to 1.
TEST_CASE("an even load costs alpha a sequence, whatever the scores") {
  const RouterShape shape{.tokens = 6, .experts = 4, .top_k = 2};
  Vector scores = random_vector(24, 1);
  for (double& score : scores) score = std::abs(score);
  const Indices sequence_of_token{0, 0, 0, 0, 1, 1};
  const Counts counts(8, 2);  // two sequences of 4 tokens, this rank holds a part of the second
  const BalanceLoss balance{.alpha = 0.01,
                            .length = 4,
                            .sequence_of_token = sequence_of_token.data(),
                            .counts = counts.data()};
  CHECK(balance_loss_terms(shape, balance, scores.data()) ==
        Approx(0.01 * (1 + 0.5)).epsilon(1e-14));
}

struct Gate {
  RouterShape shape{.tokens = 12, .experts = 16, .groups = 4, .groups_per_token = 2, .top_k = 3};
  double scale = 2.5;
  Indices sequence_of_token{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1};
  Vector logits = random_vector(12 * 16, 5);
  Indices choice = Indices(12 * 3);
  Counts counts = Counts(2 * 16, 0);

  Gate() {
    const Vector s = scores(logits);
    const Vector bias(16, 0.0);
    Indices groups(12 * 4);
    router_choose_groups(shape, s.data(), bias.data(), groups.data());
    router_choose_experts(shape, s.data(), bias.data(), groups.data(), choice.data());
    router_count_by_sequence(shape, choice.data(), sequence_of_token.data(), counts.data());
  }
  template <class T>
  std::vector<T> scores(const std::vector<T>& from) const {
    auto result = poisoned<T>(static_cast<std::int64_t>(from.size()));
    router_scores(shape, from.data(), result.data());
    return result;
  }
  BalanceLoss balance() const {
    return {.alpha = 0.3,
            .length = 6,
            .sequence_of_token = sequence_of_token.data(),
            .counts = counts.data()};
  }
  // The weights, followed by the balance loss.
  template <class T>
  std::vector<T> outputs(const std::vector<T>& from) const {
    const std::vector<T> s = scores(from);
    auto result = poisoned<T>(shape.tokens * shape.top_k);
    router_weights(shape, s.data(), choice.data(), scale, result.data());
    result.push_back(balance_loss_terms(shape, balance(), s.data()));
    return result;
  }
  Vector gradient(const Vector& from, const Vector& dweights, const BalanceLoss* loss,
                  double loss_scale) const {
    const Vector s = scores(from);
    Vector dlogits = poisoned(shape.tokens * shape.experts);
    router_backward(shape, s.data(), choice.data(), scale, dweights.data(), loss, loss_scale,
                    dlogits.data());
    return dlogits;
  }
};

TEST_CASE("the router's gradient is the adjoint of weights and balance loss, choices frozen") {
  const Gate gate;
  const BalanceLoss balance = gate.balance();
  SECTION("weights and balance loss") {
    check_derivative(
        gate.logits, [&]<class T>(const std::vector<T>& x) { return gate.outputs(x); },
        [&](const Vector& x, Vector dy) {
          const double dloss = dy.back();
          dy.pop_back();
          return gate.gradient(x, dy, &balance, dloss);
        });
  }
  SECTION("weights alone") {
    check_derivative(
        gate.logits,
        [&]<class T>(const std::vector<T>& x) {
          auto y = gate.outputs(x);
          y.pop_back();
          return y;
        },
        [&](const Vector& x, const Vector& dy) { return gate.gradient(x, dy, nullptr, 1); });
  }
  SECTION("balance loss alone") {
    check_derivative(
        gate.logits,
        [&]<class T>(const std::vector<T>& x) { return std::vector<T>{gate.outputs(x).back()}; },
        [&](const Vector& x, const Vector& dy) {
          return gate.gradient(x, Vector(gate.choice.size(), 0.0), &balance, dy[0]);
        });
  }
}

TEST_CASE("ranks that hold parts of a sequence have parts of the loss and of its gradient") {
  const Gate gate;
  const Vector scores = gate.scores(gate.logits);
  const Vector dweights = random_vector(12 * 3, 6);
  const BalanceLoss whole = gate.balance();
  const Vector expected = gate.gradient(gate.logits, dweights, &whole, 0.7);
  double loss = 0;
  Vector dlogits;
  for (const auto& [first, tokens] : {std::pair{0, 4}, {4, 5}, {9, 3}}) {
    RouterShape shape = gate.shape;
    shape.tokens = tokens;
    BalanceLoss part = whole;
    part.sequence_of_token += first;
    loss += balance_loss_terms(shape, part, scores.data() + first * 16);
    Vector dpart = poisoned(tokens * 16);
    router_backward(shape, scores.data() + first * 16, gate.choice.data() + first * 3, gate.scale,
                    dweights.data() + first * 3, &part, 0.7, dpart.data());
    dlogits.insert(dlogits.end(), dpart.begin(), dpart.end());
  }
  CHECK(loss == Approx(balance_loss_terms(gate.shape, whole, scores.data())).epsilon(1e-14));
  CHECK(dlogits == expected);
}

// Report, equations 17 to 20, as they are written: first P_i of each sequence, then the sum.
TEST_CASE("the balance loss is alpha sum f_i P_i, added over sequences of different load") {
  const Gate gate;
  const Vector scores = gate.scores(gate.logits);
  REQUIRE_FALSE(
      std::equal(gate.counts.begin(), gate.counts.begin() + 16, gate.counts.begin() + 16));
  double expected = 0;
  for (std::size_t sequence = 0; sequence < 2; ++sequence) {
    Vector mean_share(16, 0.0);
    for (std::size_t token = 6 * sequence; token < 6 * sequence + 6; ++token) {
      const auto first = scores.begin() + static_cast<std::ptrdiff_t>(16 * token);
      const double sum = std::accumulate(first, first + 16, 0.0);
      for (std::size_t expert = 0; expert < 16; ++expert) {
        mean_share[expert] += scores[16 * token + expert] / sum / 6;
      }
    }
    for (std::size_t expert = 0; expert < 16; ++expert) {
      const auto chosen = static_cast<double>(gate.counts[16 * sequence + expert]);
      expected += 0.3 * (16.0 / (3 * 6) * chosen) * mean_share[expert];
    }
  }
  CHECK(balance_loss_terms(gate.shape, gate.balance(), scores.data()) ==
        Approx(expected).epsilon(1e-14));
}

// The gradient of the balance loss lowers the scores of the experts chosen more often.
TEST_CASE("a step down the balance loss lowers the logits of the busy expert") {
  const RouterShape shape{.tokens = 1, .experts = 2, .top_k = 1};
  const Vector scores{0.6, 0.4};
  const Indices choice{0}, sequence_of_token{0};
  const Counts counts{1, 0};
  const BalanceLoss balance{.alpha = 1,
                            .length = 1,
                            .sequence_of_token = sequence_of_token.data(),
                            .counts = counts.data()};
  const Vector dweights{0};
  Vector dlogits = poisoned(2);
  router_backward(shape, scores.data(), choice.data(), 1, dweights.data(), &balance, 1,
                  dlogits.data());
  // f = (2, 0), L = 1.2, Z = 1: ds = (0.8, -1.2), times s (1 - s) = 0.24.
  CHECK(close(dlogits, {0.8 * 0.24, -1.2 * 0.24}, 1e-14));
}

}  // namespace
}  // namespace orrery::kernels
