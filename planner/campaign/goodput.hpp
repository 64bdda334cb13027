#pragma once
// A campaign with the failures of its cluster: how much longer it takes, and how sure that is.
#include <optional>
#include <vector>

#include "planner/campaign/campaign.hpp"
#include "planner/campaign/failures.hpp"

namespace orrery {

struct PhaseGoodput {
  Recovery recovery;  // on the phase's GPUs
  Seconds interval;   // of work between two checkpoints; all of it where that is less
  Seconds work;       // without failures and checkpoints, of a middle run
  Seconds expected;   // Daly's closed form
};

struct CampaignGoodput {
  Bytes checkpoint;  // master weights, moments and moving average of all parameters
  std::vector<PhaseGoodput> phases;
  double gpu_hours = 0;                        // expected, by the closed form
  double p10 = 0, p50 = 0, p90 = 0, mean = 0;  // GPU-hours of the drawn runs
  double failures = 0;                         // of a drawn run, on average
  int runs = 0;

  double goodput(const Campaign& campaign) const {  // of all GPU-hours, those that train
    return campaign.gpu_hours().middle / gpu_hours;
  }
};

struct GoodputOptions {
  std::optional<Seconds> interval;  // nothing: Daly's
  int runs = 2000;
  std::uint64_t seed = 1;
};

// Nothing where the cluster's file has no [reliability]. Throws InputError where the runs would have
// more failures than are drawn: hardly any work between two checkpoints gets through, or there is
// too much of it.
std::optional<CampaignGoodput> campaign_goodput(const Campaign& campaign,
                                                const GoodputOptions& options = {});

}  // namespace orrery
