#include "planner/schedules/zero_bubble_auto.hpp"

#include <algorithm>
#include <cmath>
#include <span>

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

int all_that_fit(int, int, int limit) {
  return limit;
}

constexpr Intake kIntakes[] = {
    all_that_fit,
    [](int r, int p, int limit) { return std::min(limit, 2 * (p - r) - 1); },
    [](int r, int, int limit) { return std::max(1, limit - r); },
};
constexpr Intake kFullIntake[] = {all_that_fit};

// The list schedules of these intakes; their waits may be overrun by parts of a W, and forwards and
// gradients may be made to take turns.
void consider_lists(const CompactProblem& problem, std::span<const Intake> intakes,
                    ShortestOrder& best) {
  const int pp = static_cast<int>(problem.of_rank.size());
  for (const Intake intake : intakes) {
    for (const double overrun : {0.0, 0.5, 1.0}) {  // of a W: waits that it may not start in
      for (const double alternation : {0.0, 2.0}) {
        ListPolicy policy;
        for (int rank = 0; rank < pp; ++rank) {
          const int limit = problem.limits[static_cast<std::size_t>(rank)];
          RankPolicy own;
          own.chunks.push_back({0, 1, limit, intake(rank, pp, limit)});
          own.wait_before_weight = overrun;
          own.alternation = alternation;
          policy.ranks.push_back(std::move(own));
        }
        if (const auto order = list_schedule(problem, policy)) best.consider(*order);
      }
    }
  }
}

Schedule shortest(std::string_view family, const Schedule& placement, const CompactProblem& problem,
                  const ShortestOrder& best) {
  ORRERY_CHECK(best.order().has_value(), "no {} with pp={} and a limit of {}", family,
               problem.of_rank.size(), problem.limits.front());
  return expand_order(placement, *best.order());
}

}  // namespace

std::optional<std::string> zb_auto_why_not(const ScheduleRequest& request) {
  return no_room_or_memory("zb-auto", request);
}

Schedule zb_auto(const ScheduleRequest& request) {
  refuse(zb_auto_why_not(request));
  const Schedule placement = one_chunk_schedule("zb-auto", request);
  const CompactProblem problem = family_problem(placement, request);
  ShortestOrder best(problem);
  const CompactOrder by_hand = *compact_order(zb_h1(request));
  const int limit = problem.limits.front();
  if (std::all_of(by_hand.begin(), by_hand.end(),
                  [&](const auto& tokens) { return keeps_limit(tokens, limit); }))
    best.consider(by_hand);
  consider_lists(problem, kIntakes, best);
  return shortest("zb-auto", placement, problem, best);
}

std::optional<std::string> zb_2p_why_not(const ScheduleRequest& request) {
  return no_room_or_memory("zb-2p", request);
}

Schedule zb_2p(const ScheduleRequest& asked) {
  refuse(zb_2p_why_not(asked));
  ScheduleRequest request = asked;
  if (request.memory == 0) request.memory = 2 * request.pp;
  const Schedule placement = one_chunk_schedule("zb-2p", request);
  const CompactProblem problem = family_problem(placement, request);
  ShortestOrder best(problem);
  consider_lists(problem, kFullIntake, best);
  return shortest("zb-2p", placement, problem, best);
}

}  // namespace orrery
