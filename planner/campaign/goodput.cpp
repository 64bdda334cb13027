#include "planner/campaign/goodput.hpp"

#include <algorithm>

#include "planner/quantile.hpp"
#include "workload/parameters.hpp"
#include "workload/random.hpp"

namespace orrery {
namespace {

// Bytes of a parameter's state: weights follow from the master weights.
double state_bytes(const Training& training) {
  constexpr double kMovingAverage = 4;
  return bytes_of(training.master) + 2 * bytes_of(training.moments) + kMovingAverage;
}

}  // namespace

std::optional<CampaignGoodput> campaign_goodput(const Campaign& campaign,
                                                const GoodputOptions& options) {
  if (!campaign.cluster.reliability) return std::nullopt;
  const Reliability& rates = *campaign.cluster.reliability;
  CampaignGoodput goodput;
  goodput.checkpoint = Bytes{(total_parameters(campaign.model) + mtp_parameters(campaign.model)) *
                             state_bytes(campaign.phases.front().pieces.front().training)};
  for (const PricedPhase& phase : campaign.phases) {
    const Cluster& cluster = phase.cluster;
    PhaseGoodput own;
    own.recovery = {
        cluster_mtbf({rates.gpu_mtbf, rates.node_mtbf}, cluster.nodes, cluster.gpus_per_node),
        goodput.checkpoint / (rates.checkpoint * cluster.nodes), rates.restart};
    own.interval = options.interval.value_or(daly_interval(own.recovery));
    own.work = Seconds{phase.gpu_hours().middle * 3600 / cluster.gpus()};
    own.expected = expected_time(own.recovery, own.interval, own.work);
    goodput.gpu_hours += own.expected.value() / 3600 * cluster.gpus();
    goodput.phases.push_back(own);
  }
  std::vector<double> runs;
  Random seeds(options.seed);
  for (int run = 0; run < options.runs; ++run) {
    double gpu_hours = 0;
    for (std::size_t phase = 0; phase < goodput.phases.size(); ++phase) {
      const PhaseGoodput& own = goodput.phases[phase];
      const Replay replay = replay_failures(own.recovery, own.interval, own.work, seeds.next());
      gpu_hours += replay.time.value() / 3600 * campaign.phases[phase].cluster.gpus();
      goodput.failures += static_cast<double>(replay.failures) / options.runs;
    }
    goodput.mean += gpu_hours / options.runs;
    runs.push_back(gpu_hours);
  }
  std::sort(runs.begin(), runs.end());
  goodput.runs = options.runs;
  goodput.p10 = quantile(runs, 0.1);
  goodput.p50 = quantile(runs, 0.5);
  goodput.p90 = quantile(runs, 0.9);
  return goodput;
}

}  // namespace orrery
