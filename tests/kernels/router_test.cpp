#include "kernels/router.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <utility>

#include "core/error.hpp"
#include "tests/kernels/adjoint.hpp"
#include "workload/random.hpp"

namespace orrery::kernels {
namespace {

using Indices = std::vector<std::int32_t>;
using Counts = std::vector<std::int64_t>;
using Vector = std::vector<double>;

Indices choose_groups(const RouterShape& shape, const Vector& scores, const Vector& bias) {
  Indices chosen(static_cast<std::size_t>(shape.tokens * shape.groups), -77);
  router_choose_groups(shape, scores.data(), bias.data(), chosen.data());
  return chosen;
}

Indices choose(const RouterShape& shape, const Vector& scores, const Vector& bias) {
  const Indices groups = choose_groups(shape, scores, bias);
  Indices choice(static_cast<std::size_t>(shape.tokens * shape.top_k), -77);
  router_choose_experts(shape, scores.data(), bias.data(), groups.data(), choice.data());
  return choice;
}

Vector weigh(const RouterShape& shape, const Vector& scores, const Indices& choice, double scale) {
  Vector weights = poisoned(shape.tokens * shape.top_k);
  router_weights(shape, scores.data(), choice.data(), scale, weights.data());
  return weights;
}

TEST_CASE("scores are the sigmoid of the logits") {
  const RouterShape shape{.tokens = 1, .experts = 5, .top_k = 1};
  const Vector logits{0, std::log(3.0), -std::log(3.0), 1000, -1000};
  Vector scores = poisoned(5);
  router_scores(shape, logits.data(), scores.data());
  CHECK(close(scores, {0.5, 0.75, 0.25, 1, 0}, 1e-15));
}

// One token, 8 experts in 4 groups of 2, unless said otherwise.
struct Choosing {
  const char* what;
  RouterShape shape;
  Vector scores;
  Vector bias;
  Indices groups;
  Indices choice;
};

constexpr RouterShape with(std::int64_t groups, std::int64_t groups_per_token, std::int64_t top_k) {
  return {.tokens = 1,
          .experts = 8,
          .groups = groups,
          .groups_per_token = groups_per_token,
          .top_k = top_k};
}

const Vector kNone(8, 0.0);
const Choosing kChoices[] = {
    {"equal scores: the lowest groups and experts",
     with(4, 2, 3),
     Vector(8, 0.5),
     kNone,
     {1, 1, 0, 0},
     {0, 1, 2}},
    {"equal group sums of unequal scores: the lower group, the better expert first",
     with(4, 1, 2),
     {0.25, 0.5, 0.375, 0.375, 0.5, 0.25, 0.25, 0.25},
     kNone,
     {1, 0, 0, 0},
     {1, 0}},
    {"a tie for the last place goes to the lower index",
     with(1, 1, 2),
     {0.1, 0.5, 0.9, 0.5, 0.5, 0.1, 0.1, 0.1},
     kNone,
     {1},
     {2, 1}},
    {"the best expert is out of reach when its group is not chosen",
     with(4, 1, 1),
     {0.9, 0.0, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1},
     kNone,
     {0, 1, 0, 0},
     {2}},
    {"of a group of four only the two best count",
     with(2, 1, 2),
     {0.5, 0.5, 0.5, 0.5, 0.6, 0.6, 0.0, 0.0},
     kNone,
     {0, 1},
     {4, 5}},
    {"groups of one expert are ranked by it",
     with(8, 3, 2),
     {0.1, 0.2, 0.8, 0.4, 0.8, 0.3, 0.7, 0.0},
     kNone,
     {0, 0, 1, 0, 1, 0, 1, 0},
     {2, 4}},
    {"experts come in descending order, over the groups",
     with(2, 2, 4),
     {0.1, 0.7, 0.2, 0.3, 0.9, 0.0, 0.8, 0.6},
     kNone,
     {1, 1},
     {4, 6, 1, 7}},
    {"the bias flips the choice of an expert",
     with(1, 1, 2),
     {0.9, 0.8, 0.7, 0.1, 0.1, 0.1, 0.1, 0.1},
     {-0.3, 0, 0, 0, 0, 0, 0, 0},
     {1},
     {1, 2}},
    {"the bias flips the choice of a group",
     with(4, 1, 2),
     {0.9, 0.9, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1},
     {0, 0, 0.5, 0.5, 0, 0, 0, 0},
     {0, 1, 0, 0},
     {2, 3}},
    {"the bias makes a tie: the lower index",
     with(1, 1, 1),
     {0.25, 0.5, 0, 0, 0, 0, 0, 0},
     {0.25, 0, 0, 0, 0, 0, 0, 0},
     {1},
     {0}},
    {"a bias below every score still leaves a choice",
     with(4, 2, 4),
     Vector(8, 0.5),
     Vector(8, -3.0),
     {1, 1, 0, 0},
     {0, 1, 2, 3}},
};

TEST_CASE("groups and experts are chosen by score plus bias, ties to the lower index") {
  for (const Choosing& row : kChoices) {
    CAPTURE(row.what);
    CHECK(choose_groups(row.shape, row.scores, row.bias) == row.groups);
    CHECK(choose(row.shape, row.scores, row.bias) == row.choice);
  }
}

// The definition by sorting, against scores of few values, so that nearly every choice has a tie.
TEST_CASE("choices agree with a full sort by descending score and ascending index") {
  const RouterShape shape{
      .tokens = 300, .experts = 32, .groups = 8, .groups_per_token = 3, .top_k = 5};
  Random random(3);
  Vector scores(static_cast<std::size_t>(shape.tokens * shape.experts));
  for (double& score : scores) score = random.below(4) / 4.0;
  Vector bias(32);
  for (double& value : bias) value = random.below(3) / 4.0;
  const Indices choice = choose(shape, scores, bias);
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    const auto biased = [&](std::int32_t expert) {
      return scores[static_cast<std::size_t>(token * 32 + expert)] +
             bias[static_cast<std::size_t>(expert)];
    };
    std::vector<std::pair<double, std::int32_t>> groups;
    for (std::int32_t group = 0; group < 8; ++group) {
      Vector members;
      for (std::int32_t expert = 4 * group; expert < 4 * group + 4; ++expert) {
        members.push_back(biased(expert));
      }
      std::sort(members.rbegin(), members.rend());
      groups.emplace_back(-(members[0] + members[1]), group);
    }
    std::sort(groups.begin(), groups.end());
    std::vector<std::pair<double, std::int32_t>> experts;
    for (int place = 0; place < 3; ++place) {
      for (std::int32_t member = 0; member < 4; ++member) {
        const std::int32_t expert = 4 * groups[static_cast<std::size_t>(place)].second + member;
        experts.emplace_back(-biased(expert), expert);
      }
    }
    std::sort(experts.begin(), experts.end());
    for (std::size_t place = 0; place < 5; ++place) {
      REQUIRE(choice[static_cast<std::size_t>(token) * 5 + place] == experts[place].second);
    }
  }
}

TEST_CASE("scores that are not numbers still choose distinct experts") {
  const RouterShape shape = with(4, 2, 3);
  Indices choice = choose(shape, poisoned(8), kNone);
  std::sort(choice.begin(), choice.end());
  CHECK(choice.front() >= 0);
  CHECK(choice.back() < 8);
  CHECK(std::adjacent_find(choice.begin(), choice.end()) == choice.end());
}

TEST_CASE("float and dual scores choose as double ones do") {
  const RouterShape shape{
      .tokens = 20, .experts = 16, .groups = 4, .groups_per_token = 2, .top_k = 3};
  const Vector scores = random_vector(20 * 16, 7);
  const Vector bias = random_vector(16, 8);
  const Indices expected = choose(shape, scores, bias);
  const auto choose_as = [&]<class T>(T) {
    const std::vector<T> s = converted<T>(scores);
    const std::vector<T> b = converted<T>(bias);
    Indices groups(20 * 4, -77);
    Indices choice(20 * 3, -77);
    router_choose_groups(shape, s.data(), b.data(), groups.data());
    router_choose_experts(shape, s.data(), b.data(), groups.data(), choice.data());
    return choice;
  };
  CHECK(choose_as(0.0f) == expected);
  CHECK(choose_as(Dual(0)) == expected);
}

TEST_CASE("weights are the chosen scores, normalised and scaled, without the bias") {
  const RouterShape shape = with(1, 1, 2);
  const Vector scores{0.9, 0.6, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1};
  const Vector bias{-1, 0, 5, 0, 0, 0, 0, 0};
  const Indices choice = choose(shape, scores, bias);
  CHECK(choice == Indices{2, 1});
  CHECK(close(weigh(shape, scores, choice, 2.5), {2.5 * 0.2 / 0.8, 2.5 * 0.6 / 0.8}, 1e-15));
}

TEST_CASE("impossible gates are bugs") {
  CHECK_THROWS_AS(choose(with(3, 1, 1), kNone, kNone), Bug);  // 8 experts in 3 groups
  CHECK_THROWS_AS(choose(with(4, 1, 3), kNone, kNone), Bug);  // 3 of a group of 2
  CHECK_THROWS_AS(choose(with(4, 5, 3), kNone, kNone), Bug);  // 5 of 4 groups
  CHECK_THROWS_AS(choose(with(4, 2, 0), kNone, kNone), Bug);  // no expert
}

TEST_CASE("counts accumulate over calls, and by sequence they add up to the whole") {
  const RouterShape shape{.tokens = 4, .experts = 3, .top_k = 2};
  const Indices choice{0, 2, 2, 1, 0, 2, 2, 0};
  Counts counts{10, 0, 0};
  router_count(shape, choice.data(), counts.data());
  CHECK(counts == Counts{13, 1, 4});
  const Indices sequence_of_token{1, 0, 1, 1};
  Counts by_sequence(6, 0);
  router_count_by_sequence(shape, choice.data(), sequence_of_token.data(), by_sequence.data());
  CHECK(by_sequence == Counts{0, 1, 1, 3, 0, 3});
}

TEST_CASE("the bias moves by the rate towards an even load and rests at the exact mean") {
  const Counts counts{3, 1, 2};
  Vector bias{0.5, 0.5, 0.5};
  router_update_bias(3, counts.data(), 0.001, bias.data());
  CHECK(bias == Vector{0.5 - 0.001, 0.5 + 0.001, 0.5});
  // The mean, 4/3, is no integer: nobody rests.
  const Counts uneven{1, 1, 2};
  std::vector<float> floats(3, 0.0f);
  router_update_bias(3, uneven.data(), 0.25, floats.data());
  CHECK(floats == std::vector<float>{0.25f, 0.25f, -0.25f});
}

TEST_CASE("updating the bias evens out a skewed load") {
  const RouterShape shape{.tokens = 512, .experts = 8, .top_k = 2};
  Random random(11);
  Vector logits(512 * 8);
  for (std::size_t at = 0; at < logits.size(); ++at) {
    logits[at] = random.normal() + 0.3 * static_cast<double>(at % 8);
  }
  Vector scores = poisoned(512 * 8);
  router_scores(shape, logits.data(), scores.data());
  Vector bias(8, 0.0);
  const auto largest_load = [&] {
    Counts counts(8, 0);
    const Indices choice = choose(shape, scores, bias);
    router_count(shape, choice.data(), counts.data());
    router_update_bias(8, counts.data(), 0.002, bias.data());
    return *std::max_element(counts.begin(), counts.end());
  };
  CHECK(largest_load() > 2 * 128);  // the mean is 512 x 2 / 8
  for (int step = 0; step < 300; ++step) largest_load();
  CHECK(largest_load() < 1.1 * 128);
}

}  // namespace
}  // namespace orrery::kernels
