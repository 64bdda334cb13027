#include "kernels/permute.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <set>
#include <utility>

#include "core/error.hpp"
#include "tests/kernels/adjoint.hpp"
#include "workload/random.hpp"

namespace orrery::kernels {
namespace {

using Experts = std::vector<std::int32_t>;

struct Maps {
  std::vector<std::int64_t> offsets;
  Experts row_of, token_of_row, slot_of_row;
  std::int64_t rows() const { return offsets.back(); }
};

// Every element starts at a value that no map holds.
Maps make_maps(const PermuteShape& shape, const Experts& experts) {
  constexpr std::int32_t kPoison = -77;
  Maps maps;
  maps.offsets.assign(static_cast<std::size_t>(shape.local_experts) + 1, kPoison);
  count_expert_rows(shape, experts.data(), maps.offsets.data());
  maps.row_of.assign(experts.size(), kPoison);
  maps.token_of_row.assign(static_cast<std::size_t>(maps.rows()), kPoison);
  maps.slot_of_row = maps.token_of_row;
  map_rows(shape, experts.data(), maps.offsets.data(), maps.row_of.data(), maps.token_of_row.data(),
           maps.slot_of_row.data());
  return maps;
}

// Tokens with up to `slots` distinct experts of 12, some slots not used.
Experts random_experts(const PermuteShape& shape, std::uint64_t seed) {
  Random random(seed);
  Experts experts;
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    std::set<std::int32_t> chosen;
    for (std::int64_t slot = 0; slot < shape.slots; ++slot) {
      const std::int32_t expert = random.below(14) - 2;
      experts.push_back(expert >= 0 && chosen.insert(expert).second ? expert : -1);
    }
  }
  return experts;
}

constexpr PermuteShape kShape{.tokens = 200, .slots = 4, .first_expert = 4, .local_experts = 5};

TEST_CASE("the worked example of the header") {
  const PermuteShape shape{.tokens = 2, .slots = 2, .first_expert = 4, .local_experts = 2};
  const Maps maps = make_maps(shape, {5, 4, 4, -1});
  CHECK(maps.offsets == std::vector<std::int64_t>{0, 2, 3});
  CHECK(maps.row_of == Experts{2, 0, 1, -1});
  CHECK(maps.token_of_row == Experts{0, 1, 0});
  CHECK(maps.slot_of_row == Experts{1, 0, 0});
}

TEST_CASE("experts get 0, 1, 127 and 129 rows") {
  const std::vector<std::int64_t> rows_of_expert{0, 1, 127, 129};
  Experts experts;
  for (std::int32_t expert = 0; expert < 4; ++expert) {
    experts.insert(experts.end(), static_cast<std::size_t>(rows_of_expert[expert]), expert);
  }
  Random random(5);
  for (std::size_t at = experts.size() - 1; at > 0; --at) {
    std::swap(experts[at],
              experts[static_cast<std::size_t>(random.below(static_cast<int>(at + 1)))]);
  }
  const PermuteShape shape{.tokens = 257, .slots = 1, .first_expert = 0, .local_experts = 4};
  CHECK(make_maps(shape, experts).offsets == std::vector<std::int64_t>{0, 0, 1, 128, 257});
}

TEST_CASE("every local choice has one row, sorted by expert and then by token") {
  const std::uint64_t seed = GENERATE(1, 2, 3);
  CAPTURE(seed);
  const Experts experts = random_experts(kShape, seed);
  const Maps maps = make_maps(kShape, experts);
  const auto is_local = [](std::int32_t expert) { return expert >= 4 && expert < 9; };
  // Conservation: as many rows as local choices, and none lost between the maps.
  CHECK(maps.rows() == std::count_if(experts.begin(), experts.end(), is_local));
  for (std::size_t choice = 0; choice < experts.size(); ++choice) {
    REQUIRE((maps.row_of[choice] >= 0) == is_local(experts[choice]));
    if (maps.row_of[choice] < 0) {
      REQUIRE(maps.row_of[choice] == -1);
      continue;
    }
    const auto row = static_cast<std::size_t>(maps.row_of[choice]);
    REQUIRE(maps.token_of_row[row] * 4 + maps.slot_of_row[row] == static_cast<int>(choice));
  }
  for (std::int32_t expert = 0; expert < 5; ++expert) {
    for (std::int64_t row = maps.offsets[expert]; row < maps.offsets[expert + 1]; ++row) {
      const std::int32_t token = maps.token_of_row[row];
      REQUIRE(experts[static_cast<std::size_t>(token * 4 + maps.slot_of_row[row])] == 4 + expert);
      if (row > maps.offsets[expert]) REQUIRE(maps.token_of_row[row - 1] < token);
    }
  }
}

TEST_CASE("the shards of the experts hold every choice once") {
  const Experts experts = random_experts(kShape, 9);
  std::vector<int> times(experts.size(), 0);
  for (const std::int32_t first : {0, 3, 6, 9}) {
    PermuteShape shard = kShape;
    shard.first_expert = first;
    shard.local_experts = 3;
    const Maps maps = make_maps(shard, experts);
    for (std::size_t choice = 0; choice < times.size(); ++choice) {
      times[choice] += maps.row_of[choice] >= 0 ? 1 : 0;
    }
  }
  for (std::size_t choice = 0; choice < times.size(); ++choice) {
    REQUIRE(times[choice] == (experts[choice] >= 0 ? 1 : 0));
  }
}

// Small integers add exactly, so the round trip is exact: out = x times the number of rows.
TEST_CASE("expanding and reducing again multiplies a token by its number of local rows") {
  const std::int64_t hidden = 9;
  const Maps maps = make_maps(kShape, random_experts(kShape, 2));
  std::vector<double> x(static_cast<std::size_t>(kShape.tokens * hidden));
  for (std::size_t at = 0; at < x.size(); ++at) x[at] = static_cast<double>(at % 1013) - 500;
  auto rows = poisoned(maps.rows() * hidden);
  expand_rows(maps.rows(), hidden, maps.token_of_row.data(), x.data(), rows.data());
  auto back = poisoned(kShape.tokens * hidden);
  reduce_rows(kShape, hidden, maps.row_of.data(), rows.data(), back.data());
  for (std::size_t token = 0; token < 200; ++token) {
    const auto first = maps.row_of.begin() + static_cast<std::ptrdiff_t>(token * 4);
    const auto count =
        static_cast<double>(std::count_if(first, first + 4, [](int row) { return row >= 0; }));
    for (std::size_t at = token * 9; at < (token + 1) * 9; ++at) REQUIRE(back[at] == count * x[at]);
  }
}

// 1e16 + 1 - 1e16 is 0 in this order and 1 in the order 1e16 - 1e16 + 1.
TEST_CASE("a token's rows are added in order of its slots, not of the rows") {
  const PermuteShape shape{.tokens = 1, .slots = 3, .first_expert = 0, .local_experts = 3};
  const Maps maps = make_maps(shape, {2, 1, 0});
  CHECK(maps.row_of == Experts{2, 1, 0});
  const std::vector<double> y{-1e16, 1, 1e16};
  double out = -1;
  reduce_rows(shape, 1, maps.row_of.data(), y.data(), &out);
  CHECK(out == 0);
  const Maps other = make_maps(shape, {2, 0, 1});
  reduce_rows(shape, 1, other.row_of.data(), y.data(), &out);
  CHECK(out == 1);
}

TEST_CASE("expand and reduce are each other's gradient") {
  const std::int64_t hidden = 3;
  const PermuteShape shape{.tokens = 17, .slots = 3, .first_expert = 2, .local_experts = 6};
  const Maps maps = make_maps(shape, random_experts(shape, 4));
  REQUIRE(maps.rows() > 0);
  const auto expand = [&]<class T>(const std::vector<T>& x) {
    auto out = poisoned<T>(maps.rows() * hidden);
    expand_rows(maps.rows(), hidden, maps.token_of_row.data(), x.data(), out.data());
    return out;
  };
  const auto reduce = [&]<class T>(const std::vector<T>& y) {
    auto out = poisoned<T>(shape.tokens * hidden);
    reduce_rows(shape, hidden, maps.row_of.data(), y.data(), out.data());
    return out;
  };
  using Vector = std::vector<double>;
  check_derivative(random_vector(shape.tokens * hidden, 1), expand,
                   [&](const Vector&, const Vector& dy) { return reduce(dy); });
  check_derivative(random_vector(maps.rows() * hidden, 2), reduce,
                   [&](const Vector&, const Vector& dy) { return expand(dy); });
}

TEST_CASE("row weights are gathered from their choices and scattered back as the adjoint") {
  const PermuteShape shape{.tokens = 17, .slots = 3, .first_expert = 2, .local_experts = 6};
  const Maps maps = make_maps(shape, random_experts(shape, 4));
  const auto gather = [&]<class T>(const std::vector<T>& weights) {
    auto out = poisoned<T>(maps.rows());
    gather_row_weights(maps.rows(), shape.slots, maps.token_of_row.data(), maps.slot_of_row.data(),
                       weights.data(), out.data());
    return out;
  };
  const auto scatter = [&]<class T>(const std::vector<T>& row_weights) {
    auto out = poisoned<T>(shape.tokens * shape.slots);
    scatter_row_weights(shape, maps.row_of.data(), row_weights.data(), out.data());
    return out;
  };
  const auto weights = random_vector(shape.tokens * shape.slots, 1);
  const auto back = scatter(gather(weights));
  for (std::size_t choice = 0; choice < weights.size(); ++choice) {
    CHECK(back[choice] == (maps.row_of[choice] < 0 ? 0.0 : weights[choice]));
  }
  using Vector = std::vector<double>;
  check_derivative(weights, gather, [&](const Vector&, const Vector& dy) { return scatter(dy); });
  check_derivative(random_vector(maps.rows(), 2), scatter,
                   [&](const Vector&, const Vector& dy) { return gather(dy); });
}

TEST_CASE("no tokens, or none for these experts, is no row") {
  PermuteShape none = kShape;
  none.tokens = 0;
  CHECK(make_maps(none, {}).offsets == std::vector<std::int64_t>(6, 0));

  const PermuteShape elsewhere{.tokens = 2, .slots = 1, .first_expert = 8, .local_experts = 2};
  const Maps maps = make_maps(elsewhere, {7, 10});
  CHECK(maps.offsets == std::vector<std::int64_t>{0, 0, 0});
  CHECK(maps.row_of == Experts{-1, -1});
  auto out = poisoned(2);
  reduce_rows<double>(elsewhere, 1, maps.row_of.data(), nullptr, out.data());
  CHECK(out == std::vector<double>{0, 0});
}

TEST_CASE("offsets that do not belong to the choices are a bug") {
  const PermuteShape shape{.tokens = 2, .slots = 1, .first_expert = 0, .local_experts = 2};
  const std::int64_t offsets[] = {0, 1, 2};
  Experts experts{0, 0}, row_of(2), token_of_row(2), slot_of_row(2);
  CHECK_THROWS_AS(map_rows(shape, experts.data(), offsets, row_of.data(), token_of_row.data(),
                           slot_of_row.data()),
                  Bug);
}

}  // namespace
}  // namespace orrery::kernels
