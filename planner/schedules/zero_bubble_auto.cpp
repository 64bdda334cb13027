#include "planner/schedules/zero_bubble_auto.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "planner/schedules/family_problem.hpp"
#include "planner/schedules/list_schedule.hpp"
#include "planner/schedules/rank_cells.hpp"
#include "planner/schedules/shortest_order.hpp"
#include "planner/schedules/zero_bubble.hpp"

namespace orrery {
namespace {

// How many forwards rank r of p takes in before its first gradient, of a limit A.
using Intake = int (*)(int r, int p, int limit);

constexpr Intake kIntakes[] = {
    [](int, int, int limit) { return limit; },
    [](int r, int p, int limit) { return std::min(limit, 2 * (p - r) - 1); },
    [](int r, int, int limit) { return std::max(1, limit - r); },
};

}  // namespace

std::optional<std::string> zb_auto_why_not(const ScheduleRequest& request) {
  return no_room_or_memory("zb-auto", request);
}

Schedule zb_auto(const ScheduleRequest& request) {
  refuse(zb_auto_why_not(request));
  const Schedule placement = one_chunk_schedule("zb-auto", request);
  const CompactProblem problem = family_problem(placement, request);
  const int limit = problem.limits.front();
  ShortestOrder best(problem);
  const CompactOrder by_hand = *compact_order(zb_h1(request));
  if (std::all_of(by_hand.begin(), by_hand.end(),
                  [&](const auto& tokens) { return keeps_limit(tokens, limit); }))
    best.consider(by_hand);
  for (const Intake intake : kIntakes) {
    for (const double overrun : {0.0, 0.5, 1.0}) {  // of a W: waits that it may not start in
      for (const double alternation : {0.0, 2.0}) {
        ListPolicy policy;
        for (int rank = 0; rank < request.pp; ++rank) {
          RankPolicy own;
          own.chunks.push_back({0, 1, limit, intake(rank, request.pp, limit)});
          own.wait_before_weight = overrun;
          own.alternation = alternation;
          policy.ranks.push_back(std::move(own));
        }
        if (const auto order = list_schedule(problem, policy)) best.consider(*order);
      }
    }
  }
  ORRERY_CHECK(best.order().has_value(), "no zb-auto with pp={} and a limit of {}", request.pp,
               limit);
  return expand_order(placement, *best.order());
}

}  // namespace orrery
