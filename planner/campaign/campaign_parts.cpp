#include "planner/campaign/campaign_parts.hpp"

namespace orrery {

std::vector<CampaignPart> campaign_parts(const Campaign& campaign) {
  std::vector<CampaignPart> parts;
  for (const PublishedPart& published : campaign.recipe.published) {
    CampaignPart part{published.part, published.source, published.gpu_hours, {}, CostRange{}};
    for (const PricedPhase& phase : campaign.phases) {
      if (phase.phase.part != published.part) continue;
      part.best += phase.gpu_hours();
      if (!phase.has_as_run()) {
        part.as_run.reset();
      } else if (part.as_run) {
        *part.as_run += phase.gpu_hours(true);
      }
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

}  // namespace orrery
