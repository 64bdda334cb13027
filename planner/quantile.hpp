#pragma once
// Quantiles of drawn results.
#include <cstddef>
#include <vector>

namespace orrery {

// The value at `share` (0 to 1) of the way through `sorted`, the nearest of them; not empty.
template <class T>
T quantile(const std::vector<T>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1) + 0.5)];
}

}  // namespace orrery
