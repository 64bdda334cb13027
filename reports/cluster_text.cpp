#include "reports/cluster_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "reports/number.hpp"
#include "sim/waits.hpp"

namespace orrery {
namespace {

constexpr std::size_t kMostShown = 8;

std::string fault_lines(const Plan& plan, const Faults& faults) {
  const int per_node = plan.cluster.gpus_per_node;
  const int nics = plan.cluster.nic.per_node;
  std::string text;
  const auto line = [&](const std::string& what) { text += "  " + what + "\n"; };
  for (const auto& [gpu, speed] : faults.gpu_speed)
    line(fmt::format("GPU {} of node {} computes at {} of its speed", gpu % per_node,
                     gpu / per_node, percent(speed)));
  for (const auto& [nic, left] : faults.nic) {
    line(left > 0 ? fmt::format("NIC {} of node {} has {} of its bandwidth", nic % nics, nic / nics,
                                percent(left))
                  : fmt::format("NIC {} of node {} is down: its traffic takes the other planes",
                                nic % nics, nic / nics));
  }
  for (int plane : faults.planes)
    line(fmt::format("plane {} is lost: its GPUs send through the NICs of others", plane));
  for (const auto& [name, left] : faults.switch_links)
    line(fmt::format("switch {} has {} of its cables upward", name, percent(left)));
  for (const auto& [node, rate] : faults.nvlink)
    line(fmt::format("node {} has no NVLink: its GPUs reach each other at {:g} GB/s", node,
                     in_gigabytes_per_second(rate)));
  return text;
}

}  // namespace

std::string class_name(const Plan& plan, const FoldedStep& folding, int rank_class) {
  const RankClass& own = folding.classes[static_cast<std::size_t>(rank_class)];
  const int per_node = plan.cluster.gpus_per_node;
  const std::string first = fmt::format("GPU {} of node {}", own.representative % per_node,
                                        own.representative / per_node);
  return own.size == 1 ? first : fmt::format("{} GPUs like {}", own.size, first);
}

std::vector<TraceRank> trace_ranks(const Plan& plan, const FoldedStep& folding) {
  std::vector<TraceRank> ranks;
  for (std::size_t number = 0; number < folding.classes.size(); ++number)
    ranks.push_back({folding.classes[number].pipeline_rank,
                     class_name(plan, folding, static_cast<int>(number))});
  return ranks;
}

std::string faults_text(const Plan& plan, const Faults& faults, Seconds sound,
                        const ClusterStep& step) {
  const FoldedStep& folding = step.folding;
  std::string text = "Faults\n" + fault_lines(plan, faults);
  const Seconds broken = step.classes.step;
  const TimeUnit unit = time_unit(broken);
  text += fmt::format("  step {:.3f} {} in the place of {:.3f} {} without them: {}\n",
                      broken / unit.time, unit.name, sound / unit.time, unit.name,
                      signed_percent(broken / sound - 1));
  // By pipeline rank of those who wait and the class waited for, weighted by the GPUs that wait.
  struct Sum {
    double gpu_seconds = 0;
    int gpus = 0;
  };
  std::map<std::pair<int, int>, Sum> sums;
  for (const WaitFor& wait : waits_in_collectives(folding.expanded.program, step.classes)) {
    const RankClass& waiter = folding.classes[wait.waiter.index()];
    // Pipeline ranks wait for each other at the end of every step.
    if (folding.classes[wait.last.index()].pipeline_rank != waiter.pipeline_rank) continue;
    Sum& sum = sums[{waiter.pipeline_rank.value, wait.last.value}];
    sum.gpu_seconds += wait.total.value() * waiter.size;
    sum.gpus += waiter.size;
  }
  std::vector<std::pair<std::pair<int, int>, Sum>> sorted(sums.begin(), sums.end());
  std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.second.gpu_seconds > b.second.gpu_seconds;
  });
  if (sorted.empty())
    return text + "  no GPU waits for another of its pipeline rank: all of them are slowed alike\n";
  text += fmt::format(
      "\nWho waits for whom within a pipeline rank, {} a step each, most GPU time first\n",
      unit.name);
  for (std::size_t place = 0; place < std::min(kMostShown, sorted.size()); ++place) {
    const auto& [who, sum] = sorted[place];
    text += fmt::format("  {:8.3f}  {} GPU{} of pipeline rank {} for {}\n",
                        sum.gpu_seconds / sum.gpus / unit.time.value(), sum.gpus,
                        sum.gpus == 1 ? "" : "s", who.first, class_name(plan, folding, who.second));
  }
  if (sorted.size() > kMostShown)
    text += fmt::format("  and {} more\n", sorted.size() - kMostShown);
  return text;
}

std::string skew_text(const Plan& plan, const Skew& skew, const ClusterStep& step) {
  const TimeUnit unit = time_unit(step.classes.step);
  const int ep = std::max(1, plan.layout.ep);
  const ExpertSkew drawn(plan.model.moe, ep,
                         static_cast<double>(plan.tokens_per_microbatch()) / plan.layout.tp, skew);
  // Of the first micro-batch in layers of the middle of the model.
  double most = 0;
  constexpr int kLayers = 8;
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::vector<double> rows = drawn.rows(0, plan.model.layers / 2 + layer, 0);
    most += *std::max_element(rows.begin(), rows.end()) / kLayers;
  }
  return fmt::format(
      "Expert loads {}, seed {}: the busiest of {} GPUs has {:.2f} times the mean rows of a layer; "
      "before exchanges a GPU waits {:.3f} {} a step for the last of its group, in the mean\n",
      describe(skew), skew.seed, ep, most, step.straggler_wait / unit.time, unit.name);
}

}  // namespace orrery
