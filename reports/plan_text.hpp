#pragma once
// The answer of `orrery plan` for people.
#include <string>

#include "planner/layout_search.hpp"
#include "planner/size_search.hpp"

namespace orrery {

std::string plan_search_text(const SearchRequest& request, const SearchResult& result);

// Of several numbers of GPUs: the best plans of them all, and the front of them all.
std::string size_search_text(const std::vector<SizeSearched>& sizes,
                             const std::vector<ScoredPlan>& plans);
std::string front_text(const std::vector<SizeSearched>& sizes,
                       const std::vector<ScoredPlan>& front);

// What the search of each plan's schedule came to, where it was searched.
std::string plan_schedules_text(const std::vector<ScoredPlan>& plans);

}  // namespace orrery
