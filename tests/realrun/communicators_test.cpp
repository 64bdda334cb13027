#include "realrun/communicators.hpp"

#include <catch2/catch.hpp>

#include "tests/realrun/tiny_runs.hpp"
#include "workload/lower.hpp"
#include "workload/world.hpp"

namespace orrery {
namespace {

Communicators communicators_for(int pp, int ep, int dp) {
  RunShape shape;
  shape.layout.pp = pp;
  shape.layout.ep = ep;
  shape.layout.dp = dp;
  const Plan plan = tiny_plan(shape);
  return communicators_of(expand(lower(plan), plan.layout).program);
}

}  // namespace

// pp = 2, dp = ep = 2: GPUs 0, 1 are the first pipeline rank, 2, 3 the second. Data-parallel
// replicas are the expert-parallel groups too; the norm is of all.
TEST_CASE("a Program needs a communicator for each group and each direction between stages") {
  const Communicators found = communicators_for(2, 2, 2);
  CHECK(found.groups == std::vector<std::vector<int>>{{0, 1}, {0, 1, 2, 3}, {2, 3}});
  CHECK(found.pairs == std::vector<std::pair<int, int>>{{0, 2}, {1, 3}, {2, 0}, {3, 1}});
}

TEST_CASE("one rank needs none") {
  const Communicators found = communicators_for(1, 1, 1);
  CHECK(found.groups.empty());
  CHECK(found.pairs.empty());
}

}  // namespace orrery
