#include "planner/stage_map_search.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>
#include <random>
#include <vector>

#include "core/error.hpp"

namespace orrery {
namespace {

using enum LayerKind;

struct Entries {
  std::vector<LayerKind> kinds;
  std::vector<Seconds> costs;

  void add(int count, LayerKind kind, double cost) {
    kinds.insert(kinds.end(), static_cast<std::size_t>(count), kind);
    costs.insert(costs.end(), static_cast<std::size_t>(count), Seconds{cost});
  }
};

bool is_layer(LayerKind kind) {
  return kind == kDense || kind == kMoe || kind == kMtp;
}

std::vector<int> layer_counts(const StageMap& map) {
  std::vector<int> counts;
  for (const auto& stage : map) {
    counts.push_back(static_cast<int>(std::count_if(stage.begin(), stage.end(), is_layer)));
  }
  return counts;
}

// The objectives of a map that holds `entries` in order: slowest stage, then sum of squares.
using Value = std::pair<double, double>;
Value value_of(const StageMap& map, const Entries& entries) {
  Value value;
  std::size_t entry = 0;
  for (const auto& stage : map) {
    double sum = 0;
    for (const LayerKind kind : stage) {
      REQUIRE(entry < entries.kinds.size());
      REQUIRE(kind == entries.kinds[entry]);
      sum += entries.costs[entry++].value();
    }
    value.first = std::max(value.first, sum);
    value.second += sum * sum;
  }
  REQUIRE(entry == entries.kinds.size());
  return value;
}

// Every way to cut the entries with so many stages without a layer, tried: the best (value, layer
// counts) there is.
struct BruteForce {
  const Entries& entries;
  int without_layer = 0;
  std::optional<std::pair<Value, std::vector<int>>> best;

  void cut(StageMap map, std::size_t entry, int left) {
    if (left == 0) {
      if (entry != entries.kinds.size()) return;
      const std::vector<int> counts = layer_counts(map);
      if (std::count(counts.begin(), counts.end(), 0) != without_layer) return;
      std::pair candidate{value_of(map, entries), counts};
      if (!best || candidate < *best) best = candidate;
      return;
    }
    map.emplace_back();
    while (entry < entries.kinds.size()) {
      map.back().push_back(entries.kinds[entry++]);
      cut(map, entry, left - 1);
    }
  }
};

TEST_CASE("the stage map is the best of all maps and the smallest of the best") {
  std::mt19937_64 random(1234);
  const auto between = [&](int low, int high) {
    return std::uniform_int_distribution(low, high)(random);
  };
  int more_stages = 0;
  for (int instance = 0; instance < 400; ++instance) {
    Entries entries;
    // Whole numbers, so that sums are exact; few different ones, so that there are ties.
    const int largest = between(1, 6);
    if (between(0, 3) > 0) entries.add(1, kEmbedding, between(0, largest));
    const int layers = between(1, 9);
    const int dense = between(0, layers);
    for (int layer = 0; layer < layers; ++layer) {
      entries.add(1, layer < dense ? kDense : kMoe, between(0, largest));
    }
    const int mtp = between(0, 2);
    entries.add(mtp, kMtp, between(0, largest));
    if (between(0, 3) > 0) entries.add(1, kHead, between(0, 2 * largest));
    // Now and then more stages than layers, as embedding and head can have their own.
    const int ends = static_cast<int>(entries.kinds.front() == kEmbedding) +
                     static_cast<int>(entries.kinds.back() == kHead);
    const int pp =
        instance % 4 == 0 ? layers + mtp + between(0, ends) : between(1, std::min(layers, 5));
    if (pp > 7) continue;  // too many ways to try
    more_stages += pp > layers + mtp;

    BruteForce brute{entries, std::max(0, pp - layers - mtp), {}};
    brute.cut({}, 0, pp);
    REQUIRE(brute.best);
    const StageMap map = best_stage_map(entries.kinds, entries.costs, pp);
    CAPTURE(instance, layers, pp, entries.costs.size());
    REQUIRE(map.size() == static_cast<std::size_t>(pp));
    CHECK(value_of(map, entries) == brute.best->first);
    CHECK(layer_counts(map) == brute.best->second);
  }
  CHECK(more_stages >= 20);
}

// 61 layers of equal cost and free embedding and head: 16 stages of at most 4, so 3 spare places.
// The most even maps have three stages of 3; of these the one with the short stages first is taken.
TEST_CASE("spare places are spread evenly over the earliest stages") {
  Entries entries;
  entries.add(1, kEmbedding, 0);
  entries.add(3, kDense, 1);
  entries.add(58, kMoe, 1);
  entries.add(1, kHead, 0);
  const StageMap map = best_stage_map(entries.kinds, entries.costs, 16);
  std::vector<int> expected(16, 4);
  expected[0] = expected[1] = expected[2] = 3;
  CHECK(layer_counts(map) == expected);
  CHECK(map.front() == std::vector{kEmbedding, kDense, kDense, kDense});
  CHECK(map.back() == std::vector{kMoe, kMoe, kMoe, kMoe, kHead});
}

// Sums of 0.1 differ in the last bit depending on their order; that must not decide between equal
// maps.
TEST_CASE("rounding does not break ties") {
  Entries fine, coarse;
  for (Entries* entries : {&fine, &coarse}) {
    const double unit = entries == &fine ? 0.1 : 1;
    entries->add(1, kEmbedding, 3 * unit);
    for (int layer = 0; layer < 24; ++layer) entries->add(1, kMoe, (1 + layer % 3) * unit);
    entries->add(1, kHead, 2 * unit);
  }
  for (int pp = 1; pp <= 24; ++pp) {
    CAPTURE(pp);
    CHECK(best_stage_map(fine.kinds, fine.costs, pp) ==
          best_stage_map(coarse.kinds, coarse.costs, pp));
  }
}

TEST_CASE("the head stays with the last layer and an MTP module counts as one") {
  Entries entries;
  entries.add(1, kEmbedding, 0);
  entries.add(3, kDense, 1);
  entries.add(4, kMoe, 2);
  entries.add(1, kMtp, 2);
  entries.add(1, kHead, 1);
  const StageMap map = best_stage_map(entries.kinds, entries.costs, 3);
  CHECK(map ==
        StageMap{{kEmbedding, kDense, kDense, kDense, kMoe}, {kMoe, kMoe}, {kMoe, kMtp, kHead}});
  CHECK(value_of(map, entries).first == 5);
  const StageMap longer = best_stage_map(entries.kinds, entries.costs, 8);
  CHECK(longer.back() == std::vector{kMtp, kHead});
}

// Llama-3-405B: 126 layers on 16 x 8 stages.
TEST_CASE("embedding and head have stages of their own where there are more stages than layers") {
  Entries entries;
  entries.add(1, kEmbedding, 1);
  entries.add(126, kDense, 4);
  entries.add(1, kHead, 5);
  const StageMap both = best_stage_map(entries.kinds, entries.costs, 128);
  CHECK(both.front() == std::vector{kEmbedding});
  CHECK(both.back() == std::vector{kHead});
  const StageMap one = best_stage_map(entries.kinds, entries.costs, 127);
  CHECK(one.front() == std::vector{kEmbedding, kDense});
  CHECK(one.back() == std::vector{kHead});
  CHECK(best_stage_map(entries.kinds, entries.costs, 126).back() == std::vector{kDense, kHead});
}

TEST_CASE("fewer layers than stages is an error that says so") {
  Entries entries;
  entries.add(1, kEmbedding, 1);
  entries.add(3, kDense, 1);
  entries.add(1, kHead, 1);
  CHECK(layer_counts(best_stage_map(entries.kinds, entries.costs, 3)) == std::vector{1, 1, 1});
  CHECK_THROWS_AS(best_stage_map(entries.kinds, entries.costs, 6), InputError);
  CHECK_THROWS_WITH(best_stage_map(entries.kinds, entries.costs, 6),
                    Catch::Contains("3 layers") && Catch::Contains("6 pipeline stages") &&
                        Catch::Contains("from 1 to 5"));
  CHECK_THROWS_AS(best_stage_map(entries.kinds, entries.costs, 0), InputError);
}

TEST_CASE("entries out of order or without a cost are a bug of the caller") {
  const std::vector swapped = {kDense, kHead, kDense};
  const std::vector late = {kDense, kEmbedding};
  const std::vector costs(3, Seconds{1});
  CHECK_THROWS_AS(best_stage_map(swapped, costs, 1), Bug);
  CHECK_THROWS_AS(best_stage_map(late, std::span(costs).first(2), 1), Bug);
  CHECK_THROWS_AS(best_stage_map(late, costs, 1), Bug);
}

}  // namespace
}  // namespace orrery
