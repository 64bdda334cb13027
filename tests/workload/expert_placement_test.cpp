#include "workload/expert_placement.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "workload/random.hpp"

namespace orrery {
namespace {

double most(const std::vector<double>& loads) {
  return *std::max_element(loads.begin(), loads.end());
}

// Shares 8, 4, 2, 2 on two GPUs: in order 12 and 4. Balanced: 8 to the first, 4 and 2 to the other,
// and the last 2 where a slot is left: 10 and 6. With one slot more on each, the 8 is had three
// times (8/1, then 8/2 ties with 4 and comes first): 4, 2.67, 2.67, 2.67, 2, 2 go to A, B, B, A, B,
// A.
TEST_CASE("experts are placed largest share first, copies where they help most") {
  const std::vector<double> wanted{8, 4, 2, 2};
  CHECK(loads_of(experts_in_order(4, 2), wanted) == std::vector<double>{12, 4});
  CHECK(balanced_experts(wanted, 2, 0, 1) == ExpertPlacement{{0, 3}, {1, 2}});
  CHECK(loads_of(balanced_experts(wanted, 2, 0, 1), wanted) == std::vector<double>{10, 6});
  const ExpertPlacement spare = balanced_experts(wanted, 2, 1, 1);
  CHECK(spare == ExpertPlacement{{1, 0, 3}, {0, 0, 2}});
  CHECK(loads_of(spare, wanted)[0] == Approx(4 + 8.0 / 3 + 2));
  CHECK(loads_of(spare, wanted)[1] == Approx(2 * 8.0 / 3 + 2));
}

TEST_CASE("every expert is somewhere, no slot is empty, and the gate's groups stay together") {
  double gain = 0;
  int chances = 0;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Random random(seed);
    const int groups = 1 << random.below(4);
    const int gpus = groups << random.below(3);
    const int experts = gpus * (1 + random.below(6));
    const int spare = random.below(3);
    std::vector<double> wanted;
    for (int expert = 0; expert < experts; ++expert)
      wanted.push_back(std::pow(1 + random.below(experts), -1.0));
    CAPTURE(seed, groups, gpus, experts, spare);
    const ExpertPlacement placement = balanced_experts(wanted, gpus, spare, groups);
    REQUIRE(placement.size() == static_cast<std::size_t>(gpus));
    std::vector<int> copies(wanted.size());
    for (int gpu = 0; gpu < gpus; ++gpu) {
      const std::vector<int>& own = placement[static_cast<std::size_t>(gpu)];
      CHECK(own.size() == static_cast<std::size_t>(experts / gpus + spare));
      for (int expert : own) {
        ++copies[static_cast<std::size_t>(expert)];
        CHECK(expert / (experts / groups) == gpu / (gpus / groups));
      }
    }
    CHECK(*std::min_element(copies.begin(), copies.end()) >= 1);
    const std::vector<double> loads = loads_of(placement, wanted);
    CHECK(std::accumulate(loads.begin(), loads.end(), 0.0) ==
          Approx(std::accumulate(wanted.begin(), wanted.end(), 0.0)));
    // What one GPU holds alone cannot be balanced.
    if (gpus > groups && experts > gpus) {
      gain += most(loads) / most(loads_of(experts_in_order(experts, gpus), wanted));
      ++chances;
    }
  }
  REQUIRE(chances >= 10);
  CHECK(gain / chances < 0.85);
}

}  // namespace
}  // namespace orrery
