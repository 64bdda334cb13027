#pragma once
// A schedule made by list scheduling: ranks are simulated side by side, and whenever one is free it
// takes what its policy likes best of what is there. Fast, and near the bound where pairs are worth
// nothing; a search over policies is what planner/schedules/policy_search.hpp does.
#include <cstdint>
#include <optional>
#include <vector>

#include "planner/schedules/compact.hpp"

namespace orrery {

struct ChunkPolicy {
  double forward = 0,
         gradient = 1;          // how much each is liked; the greatest of what is there is taken
  int most = 1;                 // activations that the chunk may hold
  int most_at_first = 1 << 30;  // the same until the rank has had a gradient
};

struct RankPolicy {
  std::vector<ChunkPolicy> chunks;
  double weight = -1;             // how much a W is liked
  double alternation = 0;         // how much less a forward is liked after one, a gradient likewise
  double wait_before_weight = 0;  // a W is started if nothing else comes so soon, in lengths of a W
  double wait_for_gradient =
      0;                     // a gradient that comes so soon is preferred to a forward, likewise
  double wait_for_pair = 0;  // two halves that come so close together make a pair
};

struct ListPolicy {
  std::vector<RankPolicy> ranks;
  double noise = 0;  // greatest random addition to what is liked
  std::uint32_t seed = 0;
};

// Nothing where the policy gets stuck: its limits on chunks leave no way out.
std::optional<CompactOrder> list_schedule(const CompactProblem& problem, const ListPolicy& policy);

}  // namespace orrery
