#pragma once
// The answer of `orrery plan` for people.
#include <string>

#include "planner/layout_search.hpp"

namespace orrery {

std::string plan_search_text(const SearchRequest& request, const SearchResult& result);

// Why not these layouts: the arithmetic of each rejection, or how far behind `best` each one is and
// where the difference lies.
std::string why_text(const SearchResult& asked, const SearchResult& all);

}  // namespace orrery
