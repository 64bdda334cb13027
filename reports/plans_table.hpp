#pragma once
// Plans in one table, a row each: what is alike and usual in all of them has no column.
#include <string>
#include <vector>

#include "planner/layout_search.hpp"

namespace orrery {

enum class PlansOf {
  kOneSize,
  kSizes,
  kFront,
};

// `plans`: not empty; "behind" is behind the first.
std::string plans_table(const SearchRequest& request, const std::vector<ScoredPlan>& plans,
                        PlansOf kind);

}  // namespace orrery
