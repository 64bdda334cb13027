#include "planner/campaign/goodput.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
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

// Failures are drawn one by one; so many, of all runs, in a few seconds.
constexpr double kMostFailures = 1e8;

void refuse_endless(const PhaseGoodput& phase, int runs) {
  const Recovery& recovery = phase.recovery;
  if (phase.expected / recovery.mtbf * runs <= kMostFailures) return;
  const auto hours = [](Seconds time) { return time.value() / 3600; };
  const Seconds best = daly_interval(recovery);
  if (phase.interval > 3 * recovery.mtbf) {
    throw InputError(fmt::format(
        "error: work of {:.0f} h between two checkpoints is lost again and again: something fails "
        "every {:.1f} h\n  = save more often; Daly's optimum is every {:.2f} h",
        hours(phase.interval), hours(recovery.mtbf), hours(best)));
  }
  throw InputError(
      fmt::format("error: {} runs of {:.3g} h, in which something fails every {:.1f} h, have more "
                  "failures than "
                  "are drawn ({:.0g})\n  = fewer tokens, or fewer --runs",
                  runs, hours(phase.expected), hours(recovery.mtbf), kMostFailures));
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
    own.work = Seconds{phase.gpu_hours().middle * 3600 / cluster.gpus()};
    // What is shorter is saved once, at its end.
    own.interval = std::min(options.interval.value_or(daly_interval(own.recovery)), own.work);
    own.expected = expected_time(own.recovery, own.interval, own.work);
    refuse_endless(own, options.runs);
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
