#include "reports/cluster_text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "reports/number.hpp"
#include "sim/waits.hpp"
#include "workload/expert_rows.hpp"
#include "workload/loads.hpp"
#include "workload/parameters.hpp"

namespace orrery {
namespace {

constexpr std::size_t kMostShown = 8;

std::vector<std::string> fault_lines(const Plan& plan, const Faults& faults) {
  const int per_node = plan.cluster.gpus_per_node;
  const int nics = plan.cluster.nic.per_node;
  std::vector<std::string> lines;
  for (const auto& [gpu, speed] : faults.gpu_speed)
    lines.push_back(fmt::format("GPU {} of node {} computes at {:g} % of its speed", gpu % per_node,
                                gpu / per_node, 100 * speed));
  for (const auto& [nic, left] : faults.nic) {
    lines.push_back(
        left > 0
            ? fmt::format("NIC {} of node {} has {:g} % of its bandwidth", nic % nics, nic / nics,
                          100 * left)
            : fmt::format("NIC {} of node {} is down, and its GPU sends through the NIC of another",
                          nic % nics, nic / nics));
  }
  for (int plane : faults.planes)
    lines.push_back(
        fmt::format("plane {} is lost, and its GPUs send through the NICs of others", plane));
  for (const auto& [name, left] : faults.switch_links)
    lines.push_back(fmt::format("switch {} has {:g} % of its cables upward", name, 100 * left));
  for (const auto& [node, rate] : faults.nvlink)
    lines.push_back(fmt::format("node {} has no NVLink: its GPUs reach each other at {:g} GB/s",
                                node, in_gigabytes_per_second(rate)));
  return lines;
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

std::string fault_list(const Plan& plan, const Faults& faults) {
  return fmt::format("{}", fmt::join(fault_lines(plan, faults), "; "));
}

std::vector<std::string> who_waits(const Plan& plan, const ClusterStep& step, std::size_t most) {
  const FoldedStep& folding = step.folding;
  const TimeUnit unit = time_unit(step.classes.step);
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
  std::vector<std::string> lines;
  for (std::size_t place = 0; place < std::min(most, sorted.size()); ++place) {
    const auto& [who, sum] = sorted[place];
    lines.push_back(fmt::format("{} GPU{} of pipeline rank {} wait{} {:.3f} {} a step for {}",
                                sum.gpus, sum.gpus == 1 ? "" : "s", who.first,
                                sum.gpus == 1 ? "s" : "",
                                sum.gpu_seconds / sum.gpus / unit.time.value(), unit.name,
                                class_name(plan, folding, who.second)));
  }
  return lines;
}

std::string faults_text(const Plan& plan, const Faults& faults, Seconds sound,
                        const ClusterStep& step) {
  std::string text = "Faults\n";
  for (const std::string& line : fault_lines(plan, faults)) text += "  " + line + "\n";
  const Seconds broken = step.classes.step;
  const TimeUnit unit = time_unit(broken);
  text += fmt::format("  step {:.3f} {} in the place of {:.3f} {} without them: {}\n",
                      broken / unit.time, unit.name, sound / unit.time, unit.name,
                      signed_percent(broken / sound - 1));
  const std::vector<std::string> who = who_waits(plan, step, kMostShown);
  if (who.empty())
    return text + "  no GPU waits for another of its pipeline rank: all of them are slowed alike\n";
  text += "\nWho waits for whom within a pipeline rank, most GPU time first\n";
  for (const std::string& line : who) text += "  " + line + "\n";
  return text;
}

std::string skew_text(const Plan& plan, const Skew& skew, const ClusterStep& step) {
  const TimeUnit unit = time_unit(step.classes.step);
  const int ep = std::max(1, plan.layout.ep);
  const std::unique_ptr<ExpertRows> experts = make_expert_rows(plan, skew);
  // Of the first micro-batch in layers of the middle of the model.
  constexpr int kLayers = 8;
  std::vector<int> layers;
  for (int layer = 0; layer < kLayers; ++layer) layers.push_back(plan.model.layers / 2 + layer);
  if (skew.measured != nullptr) layers = skew.measured->layers;
  double most = 0;
  for (int layer : layers) {
    const std::vector<double> rows = experts->rows(0, layer, 0);
    most += *std::max_element(rows.begin(), rows.end()) / static_cast<double>(layers.size());
  }
  std::string text = fmt::format(
      "Expert loads {}{}: the busiest of {} GPUs has {:.2f} times the mean rows of a layer; "
      "before exchanges a GPU waits {:.3f} {} a step for the last of its group, in the mean\n",
      describe(skew), skew.measured == nullptr ? fmt::format(", seed {}", skew.seed) : "", ep, most,
      step.straggler_wait / unit.time, unit.name);
  if (skew.spare > 0) {
    const double parameters = parameter_counts(plan.model).expert / plan.layout.etp * skew.spare;
    text += fmt::format(
        "  The copies are {:.1f} M parameters more a MoE layer on each GPU, counted as memory; the "
        "step does not count the summing of their gradients\n",
        parameters / 1e6);
  }
  return text;
}

std::string collectives_text(const std::vector<CollectiveUse>& collectives) {
  if (collectives.empty()) return {};
  std::vector<const CollectiveUse*> longest;
  for (const CollectiveUse& use : collectives) {
    const auto same = std::find_if(longest.begin(), longest.end(), [&](const CollectiveUse* other) {
      return other->name == use.name;
    });
    if (same == longest.end()) {
      longest.push_back(&use);
    } else if (use.alone > (*same)->alone) {
      *same = &use;
    }
  }
  std::string text = fmt::format(
      "Collectives, carried out as NCCL's own cost model would choose (of one name, the longest)\n"
      "  {:<56}{:>6}{:>9}{:>12}  {:<18}{:>10}\n",
      "", "GPUs", "a node", "MB sent", "method", "alone, ms");
  for (const CollectiveUse* use : longest) {
    text += fmt::format("  {:<56}{:>6}{:>9}{:>12.4g}  {:<18}{:>10.3f}\n", use->name,
                        grouped(use->wire.group), use->wire.in_node,
                        use->wire.logical.value() / 1e6, use->method, use->alone.value() * 1e3);
  }
  return text;
}

namespace {

// Load from one part of the step to the next, in eighths of full; '.' where there is none.
std::string load_line(const LinkUse& link) {
  constexpr std::size_t kParts = 25;
  std::string line;
  for (std::size_t part = 0; part < kParts; ++part) {
    const std::size_t first = part * link.load.size() / kParts;
    const std::size_t last = (part + 1) * link.load.size() / kParts;
    double sum = 0;
    for (std::size_t at = first; at < last; ++at) sum += link.load[at];
    const double load =
        std::min(1.0, sum / static_cast<double>(std::max<std::size_t>(1, last - first)));
    line += load <= 0 ? '.' : static_cast<char>('0' + static_cast<int>(std::ceil(8 * load)));
  }
  return line;
}

}  // namespace

std::string links_text(const std::vector<LinkUse>& links) {
  constexpr std::size_t kMostLinks = 16;
  std::string text = fmt::format(
      "Links, busiest first (one direction; peak: of a hundredth of the step)\n  {:<34}{:>8}{:>12}"
      "{:>12}{:>9}{:>9}  {}\n",
      "like", "links", "GB/s", "GB a step", "mean", "peak", "over the step, eighths of full");
  for (std::size_t place = 0; place < std::min(kMostLinks, links.size()); ++place) {
    const LinkUse& link = links[place];
    text +=
        fmt::format("  {:<34}{:>8}{:>12.4g}{:>12.1f}{:>9}{:>9}  {}\n", link.name,
                    grouped(link.count), in_gigabytes_per_second(link.capacity), link.bytes / 1e9,
                    percent(link.mean()), percent(std::min(1.0, link.peak())), load_line(link));
  }
  if (links.size() > kMostLinks)
    text += fmt::format("  and {} kinds more; --json has all of them\n", links.size() - kMostLinks);
  return text +
         "  Cables that hold as much as all NICs below them never hold a flow up and are not "
         "listed.\n";
}

}  // namespace orrery
