#include "planner/schedules/zb_v.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "planner/schedules/family_problem.hpp"
#include "planner/schedules/list_schedule.hpp"
#include "planner/schedules/lower_bound.hpp"
#include "planner/schedules/order_search.hpp"
#include "planner/schedules/rank_cells.hpp"
#include "planner/schedules/shortest_order.hpp"
#include "planner/schedules/v_rounds.hpp"

namespace orrery {
namespace {

// How many activations of its first chunk rank r of p may hold of a limit A.
using Intake = int (*)(int r, int p, int limit);

constexpr Intake kIntakes[] = {
    [](int, int, int limit) { return limit - 1; },
    [](int r, int, int limit) { return std::max(1, limit - 1 - r); },
    [](int r, int p, int limit) { return std::max(1, limit - p / 2 - r / 2); },
    [](int r, int p, int limit) { return std::clamp(2 * (p - r) - 1, 1, limit - 1); },
};

// Gradients first, weight gradients in the waits, under each of the rules for intake.
std::vector<ListPolicy> list_policies(int pp, int limit) {
  std::vector<ListPolicy> policies;
  for (const Intake intake : kIntakes) {
    for (const bool at_first : {false, true}) {
      for (const double overrun : {0.0, 0.5, 1.0}) {  // of a W: waits that it may not start in
        for (const double second_forward : {-0.5, 0.5}) {
          for (const double alternation : {0.0, 2.0}) {
            ListPolicy& policy = policies.emplace_back();
            for (int rank = 0; rank < pp; ++rank) {
              const int first = intake(rank, pp, limit);
              RankPolicy own;
              own.chunks.push_back({0, 1, at_first ? limit - 1 : first, first});
              own.chunks.push_back({second_forward, 1.1, limit, limit});
              own.wait_before_weight = overrun;
              own.alternation = alternation;
              policy.ranks.push_back(std::move(own));
            }
          }
        }
      }
    }
  }
  return policies;
}

constexpr double kWithRounding = 1 + 1e-9;

}  // namespace

std::optional<std::string> zb_v_why_not(const ScheduleRequest& request) {
  return no_room_or_memory("zb-v", request);
}

Schedule zb_v(const ScheduleRequest& request) {
  refuse(zb_v_why_not(request));
  const Schedule placement = v_schedule("zb-v", request);
  const CompactProblem problem = family_problem(placement, request);
  const int limit = problem.limits.front();
  const double enough = lower_bound(problem).makespan * kWithRounding;
  ShortestOrder best(problem);
  for (const CompactOrder& order : v_rounds(problem)) best.consider(order);
  if (best.makespan() > enough) {
    for (const ListPolicy& policy : list_policies(request.pp, limit)) {
      if (const auto order = list_schedule(problem, policy)) best.consider(*order);
    }
  }
  ORRERY_CHECK(best.order().has_value(), "no zb-v with pp={} and a limit of {}", request.pp, limit);
  constexpr long kTokens = 4'000'000;  // timed in all: a tenth of a second
  const long tokens = 6L * request.pp * request.microbatches;
  OrderSearch polish(problem, *best.order(), 1);
  polish.advance(kTokens / tokens, 0.005, 6, enough);
  return expand_order(placement, polish.best());
}

}  // namespace orrery
