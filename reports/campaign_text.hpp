#pragma once
// The answer of `orrery campaign` for people.
#include <string>

#include "planner/campaign/goodput.hpp"

namespace orrery {

// `goodput`: null where the cluster says nothing of its failures.
std::string campaign_text(const Campaign& campaign, const CampaignGoodput* goodput);

}  // namespace orrery
