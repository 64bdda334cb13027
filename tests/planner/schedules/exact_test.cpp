#include "planner/schedules/exact.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <functional>
#include <random>

#include "planner/schedules/order_search.hpp"
#include "planner/schedules/policy_search.hpp"
#include "planner/schedules/rank_cells.hpp"
#include "planner/schedules/search.hpp"
#include "tests/planner/published_table.hpp"

namespace orrery {
namespace {

Schedule placement_of(const std::string& name, int pp, int microbatches) {
  const ScheduleRequest request{.pp = pp, .microbatches = microbatches};
  if (name == "V") return v_schedule(name, request);
  if (name == "both directions") return bidirectional_schedule(name, request);
  return one_chunk_schedule(name, request);
}

CompactProblem problem_of(const Schedule& placement, double F, double I, double W, double hop,
                          int limit) {
  const CellTimes times =
      times_of_share(placement, without_overlap(Seconds{F}, Seconds{I}, Seconds{W}), Seconds{hop});
  return compact_problem(placement, times, std::vector<int>(placement.ranks.size(), limit));
}

// All orders of a rank that keep the limit.
std::vector<std::vector<Token>> all_orders(const CompactProblem& problem, std::size_t rank) {
  std::vector<std::vector<Token>> orders;
  std::vector<Token> tokens;
  std::size_t length = 0;
  for (const int slot : problem.of_rank[rank])
    length +=
        3 * static_cast<std::size_t>(problem.slots[static_cast<std::size_t>(slot)].microbatches);
  const std::function<void()> extend = [&] {
    if (tokens.size() == length) {
      orders.push_back(tokens);
      return;
    }
    for (std::size_t chunk = 0; chunk < problem.of_rank[rank].size(); ++chunk) {
      const Slot& slot = problem.slot(static_cast<int>(rank), static_cast<int>(chunk));
      for (const CellKind kind : {CellKind::kF, CellKind::kI, CellKind::kW}) {
        const auto name = static_cast<std::uint8_t>(chunk);
        const auto same = std::count_if(tokens.begin(), tokens.end(), [&](const Token& token) {
          return token.kind == kind && token.backward == name;
        });
        if (same == slot.microbatches) continue;
        tokens.push_back({kind, name, name});
        if (keeps_limit(tokens, problem.limits[rank])) extend();
        tokens.pop_back();
      }
    }
  };
  extend();
  return orders;
}

double shortest_of_all(const CompactProblem& problem) {
  std::vector<std::vector<std::vector<Token>>> orders;
  for (std::size_t rank = 0; rank < problem.of_rank.size(); ++rank)
    orders.push_back(all_orders(problem, rank));
  CompactTimer timer(problem);
  CompactOrder order(orders.size());
  double best = CompactTimer::kDeadlock;
  const std::function<void(std::size_t)> choose = [&](std::size_t rank) {
    if (rank == orders.size()) {
      best = std::min(best, timer.makespan(order));
      return;
    }
    for (const auto& own : orders[rank]) {
      order[rank] = own;
      choose(rank + 1);
    }
  };
  choose(0);
  return best;
}

TEST_CASE("branch and bound finds what trying all orders finds") {
  struct Case {
    const char* placement;
    int pp, microbatches;
  };
  for (const auto& [name, pp, microbatches] :
       {Case{"one chunk", 2, 2}, Case{"one chunk", 2, 3}, Case{"one chunk", 3, 2},
        Case{"one chunk", 3, 3}, Case{"V", 2, 1}, Case{"both directions", 2, 2}}) {
    const Schedule placement = placement_of(name, pp, microbatches);
    for (const int limit : {1, 2, 3}) {
      for (const auto& [F, I, W, hop] :
           {std::array{1.0, 1.0, 1.0, 0.0},
            {1.0, 1.2, 0.6, 0.1},
            {0.7, 1.5, 1.1, 0.4},
            // Cells that take no time, and units in which all is small or large.
            {1.0, 1.0, 0.0, 0.3},
            {1.0, 0.0, 2.0, 0.2},
            {0.0, 1.0, 1.0, 0.0},
            {1e-8, 1.2e-8, 0.6e-8, 1e-9},
            {1e9, 1.2e9, 0.6e9, 1e8}}) {
        const CompactProblem problem = problem_of(placement, F, I, W, hop, limit);
        const double best = shortest_of_all(problem);
        CAPTURE(name, pp, microbatches, limit, F, I, W, hop);
        if (best == CompactTimer::kDeadlock) continue;  // a V cannot do with one
        const ExactResult exact = shortest_schedule(problem, 1000 * best, 1'000'000);
        REQUIRE(exact.proven);
        REQUIRE(exact.order);
        CHECK_THAT(exact.makespan, Catch::WithinRel(best, 1e-9));
        CHECK_THAT(CompactTimer(problem).makespan(*exact.order), Catch::WithinRel(best, 1e-9));
      }
    }
  }
}

// Found first or proven first, it is the same: an annealing that starts from what the branch and
// bound never saw gets nowhere below it. Stages, limits and latencies of every kind.
TEST_CASE("nothing is shorter than what branch and bound proves the shortest") {
  std::mt19937_64 random(17);
  const auto part = [&](double least, double most) {
    return std::uniform_real_distribution(least, most)(random);
  };
  const auto whole = [&](int least, int most) {
    return std::uniform_int_distribution(least, most)(random);
  };
  int proven = 0, as_short = 0;
  for (int instance = 0; instance < 300; ++instance) {
    const char* const name = std::array{"one chunk", "V", "both directions"}[instance % 3];
    const int pp = instance % 3 == 0 ? whole(2, 4) : 2;
    const int microbatches = instance % 3 == 2 ? 4 : whole(2, instance % 3 == 0 ? 5 : 3);
    const Schedule placement = placement_of(name, pp, microbatches);
    CompactProblem problem = problem_of(placement, 1, 1, 1, instance % 2 * part(0, 0.5), 2);
    const auto length = [&] { return instance % 5 == 4 && whole(0, 2) == 0 ? 0 : part(0.3, 1.5); };
    for (Slot& slot : problem.slots) {
      slot.F = length();
      slot.I = length();
      slot.W = length();
      slot.B = slot.gradient_ready = slot.I + slot.W;
    }
    for (std::size_t rank = 0; rank < problem.of_rank.size(); ++rank) {
      problem.limits[rank] = whole(2, 4);
      for (std::size_t pair = 0; pair < problem.pairs[rank].size(); ++pair) {
        const std::size_t chunks = problem.of_rank[rank].size();
        const Slot& forward = problem.slot(static_cast<int>(rank), static_cast<int>(pair / chunks));
        const Slot& backward =
            problem.slot(static_cast<int>(rank), static_cast<int>(pair % chunks));
        problem.pairs[rank][pair].input_length = forward.F + backward.I;
        problem.pairs[rank][pair].length = forward.F + backward.I + backward.W;
      }
    }
    PolicySearch lists(problem, static_cast<std::uint64_t>(instance));
    lists.advance(200);
    if (lists.best().empty()) continue;
    OrderSearch orders(problem, lists.best(), static_cast<std::uint64_t>(instance));
    orders.advance(5000, 0.2, 8);
    const ExactResult exact = shortest_schedule(problem, 1000, 300'000);
    if (!exact.proven) continue;
    ++proven;
    CAPTURE(instance, name, pp, microbatches);
    REQUIRE(exact.order);
    REQUIRE_THAT(CompactTimer(problem).makespan(*exact.order),
                 Catch::WithinAbs(exact.makespan, 1e-9));
    REQUIRE(orders.makespan() >= exact.makespan - 1e-6);
    // And nothing changes where it starts from the shortest.
    const ExactResult again = shortest_schedule(problem, exact.makespan, 300'000);
    REQUIRE(again.proven);
    REQUIRE_FALSE(again.order);
    as_short += orders.makespan() <= exact.makespan + 1e-6;
  }
  CHECK(proven > 250);
  CHECK(as_short > 150);
}

// tests/data/schedule-certificates.csv: the shortest makespan of every small problem, and
// which bound or search proves it.
TEST_CASE("small problems are searched to their proven optimum") {
  int rows = 0, by_bound = 0;
  for (const PublishedRow& row : published_table("../schedule-certificates.csv")) {
    ScheduleSearchRequest request;
    const Schedule placement = placement_of(row.text("stages"), row.count("p"), row.count("m"));
    request.starts.push_back(placement);
    request.times =
        times_of_share(placement,
                       without_overlap(Seconds{row.number("F")}, Seconds{row.number("I")},
                                       Seconds{row.number("W")}),
                       Seconds{row.number("hop")});
    request.limits.assign(placement.ranks.size(), row.count("limit"));
    request.effort = 4000;
    const ScheduleSearchResult result = search_schedule(request);
    CAPTURE(row.text("stages"), row.text("p"), row.text("m"), row.text("limit"), row.text("I"),
            row.text("hop"), row.text("makespan"));
    REQUIRE(result.proven());
    REQUIRE(to_string(result.bound.binding) == row.text("proof"));
    REQUIRE_THAT(result.makespan, Catch::WithinAbs(row.number("makespan"), 1e-9));
    by_bound += result.bound.binding != Binding::kExhausted;
    ++rows;
  }
  CHECK(rows == 480);
  CHECK(by_bound > 200);
}

}  // namespace
}  // namespace orrery
