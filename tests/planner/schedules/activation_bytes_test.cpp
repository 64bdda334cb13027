#include "planner/schedules/activation_bytes.hpp"

#include <catch2/catch.hpp>
#include <random>

#include "planner/schedules/compact.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/search.hpp"
#include "planner/schedules/slide_pairs.hpp"

namespace orrery {
namespace {

constexpr Token F0{CellKind::kF, 0, 0}, I0{CellKind::kI, 0, 0}, W0{CellKind::kW, 0, 0},
    B0{CellKind::kB, 0, 0}, FB0{CellKind::kFB, 0, 0};

// One rank, one stage: 10 until I, 4 until W, 6 of operands, in one layer.
CompactProblem one_stage(double limit) {
  const Schedule schedule = make_schedule("1f1b", 1, 8);
  CompactProblem problem = compact_problem(schedule, uniform_times(schedule, {}), {100});
  const StageBytes stage{{Bytes{10}, Bytes{4}, Bytes{6}}, Bytes{14}, Bytes{6}};
  count_bytes(problem, schedule, {{{stage}}, {Bytes{limit}}});
  return problem;
}

TEST_CASE("what a rank holds follows the cells: made in F, traded in I, freed in W") {
  const CompactProblem problem = one_stage(1000);
  const auto peak = [&](std::vector<Token> tokens) { return peak_bytes(problem, 0, tokens); };
  CHECK(peak({F0}) == 14);
  CHECK(peak({F0, F0}) == 28);
  // I has its operands before its activations are freed; 4 + 6 wait for W.
  CHECK(peak({F0, I0}) == 14 + 6);
  CHECK(peak({F0, I0, F0}) == std::max(14 + 6, 10 + 14));
  CHECK(peak({F0, I0, W0, F0, I0, W0}) == 14 + 6);
  CHECK(peak({F0, B0, F0}) == 14 + 6);
  // The halves of a pair go through their layers in turn.
  CHECK(peak({F0, F0, FB0, B0, B0}) == 28 + 14 + 6);
}

TEST_CASE("limits in bytes reject what only fits in number, and lower the numbers") {
  CHECK(keeps_limit(one_stage(28), 0, std::vector{F0, F0, B0, B0}) == false);  // the operands of B
  CHECK(keeps_limit(one_stage(34), 0, std::vector{F0, F0, B0, B0}));
  CHECK_FALSE(keeps_limit(one_stage(1000), 0, std::vector{I0, F0}));
  // An activation takes 4 + min(10, 6) at the least.
  CHECK(one_stage(28).limits[0] == 2);
  CHECK(one_stage(1000).limits[0] == 100);
}

TEST_CASE("pairs slide by one: each takes the backward of the one before") {
  const Token F1{CellKind::kF, 1, 1}, FB01{CellKind::kFB, 0, 1}, FB10{CellKind::kFB, 1, 0};
  const Token I0t{CellKind::kI, 0, 0};
  const CompactOrder order = {{F0, F1, FB01, FB10, B0}};
  const auto slid = slide_pairs(order);
  REQUIRE(slid.has_value());
  CHECK((*slid)[0] == std::vector<Token>{F0, F1, F0, Token{CellKind::kFB, 1, 1}, I0t, W0, B0});
  CHECK_FALSE(slide_pairs({{F0, FB0, B0}}).has_value());
}

TEST_CASE("the search keeps limits in bytes, and its bound holds under them") {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> part(0, 1);
  int found = 0, binding = 0;
  for (int instance = 0; instance < 200; ++instance) {
    const char* kind = instance % 2 == 0 ? "dualpipe" : "zb-v";
    const int pp = instance % 4 < 2 ? 2 : 4;
    ScheduleSearchRequest wanted;
    wanted.starts.push_back(make_schedule(kind, pp, 3 * pp));
    const Schedule& placement = wanted.starts.front();
    wanted.times = uniform_times(
        placement, {Seconds{1}, Seconds{0.8 + part(random)}, Seconds{0.2 + part(random)},
                    Seconds{kind[0] == 'd' ? 2.2 : 4}, Seconds{3}});
    wanted.limits.assign(placement.ranks.size(), 1000);
    ActivationBytes bytes;
    bytes.stages.resize(static_cast<std::size_t>(placement.directions));
    for (auto& stages : bytes.stages) {
      for (int stage = 0; stage < placement.stages(); ++stage) {
        const double a = part(random), b = part(random), c = part(random);
        stages.push_back({{Bytes{a}, Bytes{b}, Bytes{c}}, Bytes{0.5 * (a + b)}, Bytes{0.5 * c}});
      }
    }
    CompactProblem problem = compact_problem(placement, wanted.times, wanted.limits);
    bytes.limits.assign(placement.ranks.size(), Bytes{1e9});
    count_bytes(problem, placement, bytes);
    const CompactOrder order = *compact_order(placement);
    for (std::size_t rank = 0; rank < order.size(); ++rank)
      bytes.limits[rank] =
          Bytes{peak_bytes(problem, rank, order[rank]) * (0.8 + 0.6 * part(random))};
    count_bytes(problem, placement, bytes);
    wanted.bytes = bytes;
    wanted.effort = 1000;
    const ScheduleSearchResult result = search_schedule(wanted);
    if (result.schedule.ranks.empty()) continue;
    ++found;
    const CompactOrder best = *compact_order(result.schedule);
    CAPTURE(instance);
    for (std::size_t rank = 0; rank < best.size(); ++rank) {
      const double peak = peak_bytes(problem, rank, best[rank]);
      REQUIRE(peak <= bytes.limits[rank].value() * (1 + 1e-9));
      binding += peak > 0.9 * bytes.limits[rank].value();
    }
    REQUIRE(result.makespan >= result.bound.makespan - 1e-9);
  }
  CHECK(found > 100);
  CHECK(binding > 100);
}

}  // namespace
}  // namespace orrery
