#include "kernels/cross_entropy.hpp"

#include <limits>

#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Targets over a vocabulary; every fifth token is ignored.
std::vector<std::int32_t> example_targets(std::int64_t tokens, std::int64_t vocab) {
  std::vector<std::int32_t> targets;
  for (std::int64_t token = 0; token < tokens; ++token)
    targets.push_back(token % 5 == 4 ? kIgnoredTarget
                                     : static_cast<std::int32_t>(token * 7 % vocab));
  return targets;
}

template <class T>
struct Statistics {
  std::vector<T> max, sum_exp, target_logit;
};

// Columns [first, first + vocab) of logits [tokens][width], as a shard of its own.
template <class T>
std::vector<T> slice(const std::vector<T>& logits, const CrossEntropyShape& shard,
                     std::int64_t width) {
  std::vector<T> part;
  for (std::int64_t token = 0; token < shard.tokens; ++token)
    for (std::int64_t id = shard.first; id < shard.first + shard.vocab; ++id)
      part.push_back(logits[static_cast<std::size_t>(token * width + id)]);
  return part;
}

// The combined statistics of the shards, which divide the vocabulary.
template <class T>
Statistics<T> statistics(const std::vector<T>& logits, const std::vector<std::int32_t>& targets,
                         const std::vector<CrossEntropyShape>& shards, std::int64_t width) {
  Statistics<T> combined;
  for (const CrossEntropyShape& shard : shards) {
    Statistics<T> part{poisoned<T>(shard.tokens), poisoned<T>(shard.tokens),
                       poisoned<T>(shard.tokens)};
    cross_entropy_statistics(shard, slice(logits, shard, width).data(), targets.data(),
                             part.max.data(), part.sum_exp.data(), part.target_logit.data());
    if (&shard == &shards.front())
      combined = part;
    else
      cross_entropy_combine(shard.tokens, part.max.data(), part.sum_exp.data(),
                            part.target_logit.data(), combined.max.data(), combined.sum_exp.data(),
                            combined.target_logit.data());
  }
  return combined;
}

template <class T>
std::vector<T> losses(const std::vector<T>& logits, const std::vector<std::int32_t>& targets,
                      const std::vector<CrossEntropyShape>& shards, std::int64_t width) {
  const Statistics<T> all = statistics(logits, targets, shards, width);
  const auto tokens = static_cast<std::int64_t>(targets.size());
  std::vector<T> loss = poisoned<T>(tokens);
  cross_entropy_loss(tokens, targets.data(), all.max.data(), all.sum_exp.data(),
                     all.target_logit.data(), loss.data());
  return loss;
}

// The gradient of sum_t loss_t, the shards put together again.
std::vector<double> gradient(const std::vector<double>& logits,
                             const std::vector<std::int32_t>& targets,
                             const std::vector<CrossEntropyShape>& shards, std::int64_t width,
                             double scale) {
  const Statistics<double> all = statistics(logits, targets, shards, width);
  std::vector<double> whole = poisoned(static_cast<std::int64_t>(logits.size()));
  for (const CrossEntropyShape& shard : shards) {
    std::vector<double> part = slice(logits, shard, width);
    cross_entropy_gradient(shard, targets.data(), all.max.data(), all.sum_exp.data(), scale,
                           part.data());
    for (std::int64_t token = 0; token < shard.tokens; ++token)
      for (std::int64_t id = 0; id < shard.vocab; ++id)
        whole[static_cast<std::size_t>(token * width + shard.first + id)] =
            part[static_cast<std::size_t>(token * shard.vocab + id)];
  }
  return whole;
}

TEST_CASE("The loss is the negative logarithm of the target's probability") {
  // Logits ln 1, ln 2, ln 5: probabilities 1/8, 2/8, 5/8.
  const std::vector<double> row = {0, std::log(2), std::log(5)};
  for (const std::int32_t target : {0, 1, 2}) {
    const double probability = std::exp(row[static_cast<std::size_t>(target)]) / 8;
    CHECK(losses<double>(row, {target}, {{1, 0, 3}}, 3)[0] ==
          Approx(-std::log(probability)).epsilon(1e-14));
  }
  CHECK(losses<double>(row, {kIgnoredTarget}, {{1, 0, 3}}, 3)[0] == 0);
  const std::vector<double> slope = gradient(row, {1}, {{1, 0, 3}}, 3, 10);
  CHECK(slope[0] == Approx(10 * 0.125).epsilon(1e-14));
  CHECK(slope[1] == Approx(10 * (0.25 - 1)).epsilon(1e-14));
  CHECK(slope[2] == Approx(10 * 0.625).epsilon(1e-14));
  CHECK(gradient(row, {kIgnoredTarget}, {{1, 0, 3}}, 3, 10) == std::vector<double>(3, 0));
}

TEST_CASE(
    "The gradient of the loss is that of its forward, on one shard, two, and with empty ones") {
  const std::int64_t width = 11;
  for (const std::int64_t tokens : {0, 1, 127, 129}) {
    const std::vector<std::int32_t> targets = example_targets(tokens, width);
    const std::vector<std::vector<CrossEntropyShape>> divisions = {
        {{tokens, 0, 11}},
        {{tokens, 0, 4}, {tokens, 4, 7}},
        {{tokens, 0, 0}, {tokens, 0, 0}, {tokens, 0, 10}, {tokens, 10, 1}},
    };
    for (const auto& shards : divisions) {
      CAPTURE(tokens, shards.size());
      check_derivative(
          random_vector(tokens * width, 1),
          [&]<class T>(const std::vector<T>& logits) {
            return losses(logits, targets, shards, width);
          },
          // The kernel takes one scale for all tokens; a token's dy multiplies its row.
          [&](const std::vector<double>& logits, const std::vector<double>& dy) {
            std::vector<double> dlogits = gradient(logits, targets, shards, width, 1);
            for (std::size_t element = 0; element < dlogits.size(); ++element)
              dlogits[element] *= dy[element / width];
            return dlogits;
          });
    }
  }
}

TEST_CASE("Shards with equal maxima combine with the slopes of both") {
  // log(e^a + e^b) at a = b has slope (a' + b') / 2.
  const std::vector<Dual> logits = {Dual(1, 3), Dual(1, 5)};
  const Dual loss = losses<Dual>(logits, {0}, {{1, 0, 1}, {1, 1, 1}}, 2)[0];
  CHECK(loss.value == Approx(std::log(2)).epsilon(1e-15));
  CHECK(loss.slope == Approx(4 - 3).epsilon(1e-15));
}

TEST_CASE("Large logits neither overflow nor lose the loss") {
  const std::vector<double> row = {1e4, 1e4 + std::log(3), -1e4, -kInfinity};
  const std::vector<std::vector<CrossEntropyShape>> divisions = {
      {{1, 0, 4}}, {{1, 0, 1}, {1, 1, 3}}, {{1, 0, 2}, {1, 2, 2}}, {{1, 0, 3}, {1, 3, 1}}};
  for (const auto& shards : divisions) {
    CHECK(losses<double>(row, {0}, shards, 4)[0] == Approx(std::log(4)).epsilon(1e-11));
    CHECK(losses<double>(row, {2}, shards, 4)[0] == Approx(2e4 + std::log(4)).epsilon(1e-11));
    const std::vector<double> slope = gradient(row, {0}, shards, 4, 1);
    CHECK(slope[0] == Approx(-0.75).epsilon(1e-11));
    CHECK(slope[3] == 0);
  }
}

TEST_CASE("A NaN among the logits reaches the loss, whatever stands beside it") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::vector<double>& row : std::vector<std::vector<double>>{
           {nan, 1, 2}, {0, nan, 1}, {1, 0, nan}, {nan, nan, nan}, {0, -kInfinity, nan}}) {
    CHECK(std::isnan(losses<double>(row, {0}, {{1, 0, 3}}, 3)[0]));
    CHECK(std::isnan(losses<double>(row, {0}, {{1, 0, 1}, {1, 1, 2}}, 3)[0]));
  }
}

}  // namespace
}  // namespace orrery::kernels
