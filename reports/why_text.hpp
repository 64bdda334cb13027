#pragma once
// Why not these layouts: `orrery plan --why`, and a search that found none.
#include <string>

#include "planner/layout_search.hpp"

namespace orrery {

// Each reason with the points it rejected, one of them and its arithmetic.
std::string rejections_text(const SearchResult& result);

// `asked`: of the layouts asked about; `all`: of the search. The arithmetic of each rejection, or
// how far behind the best the best of them is and where the difference lies.
std::string why_text(const SearchRequest& request, const SearchResult& asked,
                     const SearchResult& all, const DeviceModel& device);

}  // namespace orrery
