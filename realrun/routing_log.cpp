#include "realrun/routing_log.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace orrery {

void RoutingLog::settle(const Place& place, std::span<std::int32_t> choice) {
  if (!follows_) {
    written_[place].assign(choice.begin(), choice.end());
    return;
  }
  const std::vector<std::int32_t>& before = written_.at(place);
  ORRERY_CHECK(before.size() == choice.size(), "{} choices, {} were written", choice.size(),
               before.size());
  choices_ += static_cast<std::int64_t>(choice.size());
  for (std::size_t at = 0; at < choice.size(); ++at) changed_ += choice[at] != before[at] ? 1 : 0;
  std::copy(before.begin(), before.end(), choice.begin());
}

}  // namespace orrery
