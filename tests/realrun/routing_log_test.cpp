#include "realrun/routing_log.hpp"

#include <catch2/catch.hpp>

namespace orrery {
namespace {

TEST_CASE("choices that were written are followed where they were made, and changes counted") {
  RoutingLog log;
  const RoutingLog::Place first{Stage(0), 0, 1, Microbatch(0)};
  const RoutingLog::Place second{Stage(0), 0, 1, Microbatch(1)};
  std::vector<std::int32_t> one = {3, 1, 2, 0}, other = {7, 6, 5, 4};
  log.settle(first, one);
  log.settle(second, other);
  CHECK(one == std::vector<std::int32_t>{3, 1, 2, 0});
  log.follow();
  std::vector<std::int32_t> again = {7, 6, 5, 3};
  log.settle(second, again);
  CHECK(again == other);
  CHECK(log.choices() == 4);
  CHECK(log.changed() == 1);
}

}  // namespace
}  // namespace orrery
