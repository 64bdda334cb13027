#pragma once
// A campaign beside what was published of it, part by part.
#include <optional>
#include <string>
#include <vector>

#include "planner/campaign/campaign.hpp"

namespace orrery {

struct CampaignPart {
  std::string name, source;
  double published = 0;             // GPU-hours
  CostRange best;                   // of the best layouts
  std::optional<CostRange> as_run;  // as the run was laid out, where all its phases say how
};

std::vector<CampaignPart> campaign_parts(const Campaign& campaign);

}  // namespace orrery
