#include "reports/kept_pair.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "tests/planner/published_plan.hpp"

namespace orrery {
namespace {

TEST_CASE("the kept prediction of the pair is read from its report") {
  const auto kept = kept_pair_for(PublishedPlan().plan);
  REQUIRE(kept.has_value());
  CHECK(in_milliseconds(kept->published) == Approx(129.0));
  CHECK(in_milliseconds(kept->predicted) == Approx(111.9));
}

TEST_CASE("other plans have no pair to be held against") {
  Plan plan = PublishedPlan().plan;
  plan.layout.recompute = Recompute::kNone;
  CHECK_FALSE(kept_pair_for(plan).has_value());
  plan = PublishedPlan().plan;
  plan.layout.comm_sms = 24;
  CHECK_FALSE(kept_pair_for(plan).has_value());
}

TEST_CASE("a report without the row is bad input") {
  CHECK_THROWS_AS(read_kept_pair("# A pair\n\n| wall, ms |\n"), InputError);
  CHECK_THROWS_AS(read_kept_pair(""), InputError);
  const KeptPair pair = read_kept_pair("| wall, ms | 1.5 | 2 | **3.25** | 2 |\n");
  CHECK(in_milliseconds(pair.predicted) == Approx(3.25));
}

}  // namespace
}  // namespace orrery
