#include "sim/network/link_use.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace orrery {

double LinkUse::mean() const {
  return std::accumulate(load.begin(), load.end(), 0.0) / static_cast<double>(load.size());
}

double LinkUse::peak() const {
  return *std::max_element(load.begin(), load.end());
}

std::vector<LinkUse> link_use(const FlowPlan& plan, const std::vector<FlowRecord>& records,
                              Seconds step) {
  // Bytes of each flow in each part of the step; then each link's share of them.
  std::vector<std::vector<double>> flow_bytes(plan.flows.size());
  const double width = step.value() / kLinkBins;
  for (const FlowRecord& record : records) {
    std::vector<double>& bins = flow_bytes[static_cast<std::size_t>(record.flow)];
    bins.resize(kLinkBins, 0);
    const double start = record.start.value() / width;
    const double end = std::max(record.end.value() / width, start + 1e-12);
    const int first = std::clamp(static_cast<int>(start), 0, kLinkBins - 1);
    const int last = std::clamp(static_cast<int>(std::ceil(end)) - 1, first, kLinkBins - 1);
    for (int bin = first; bin <= last; ++bin) {
      const double from = bin == first ? start : bin;
      const double to = bin == last ? end : bin + 1;
      bins[static_cast<std::size_t>(bin)] += record.bytes * (to - from) / (end - start);
    }
  }
  std::vector<LinkUse> links;
  for (const PlannedResource& resource : plan.resources) {
    links.push_back({resource.name, resource.count, resource.capacity * resource.scale, 0,
                     std::vector<double>(kLinkBins, 0)});
  }
  for (std::size_t number = 0; number < plan.flows.size(); ++number) {
    if (flow_bytes[number].empty()) continue;
    for (const Crossing& crossing : plan.flows[number].route) {
      const auto resource = static_cast<std::size_t>(crossing.resource);
      LinkUse& link = links[resource];
      const double times = crossing.times * plan.resources[resource].scale;
      for (std::size_t bin = 0; bin < kLinkBins; ++bin) {
        const double bytes = flow_bytes[number][bin] * times;
        link.bytes += bytes;
        link.load[bin] += bytes / (link.capacity.value() * width);
      }
    }
  }
  std::erase_if(links, [](const LinkUse& link) { return link.bytes <= 0; });
  // Equal but for rounding: in the order of the plan.
  const auto millionths = [](const LinkUse& link) { return std::llround(1e6 * link.mean()); };
  std::stable_sort(links.begin(), links.end(), [&](const LinkUse& a, const LinkUse& b) {
    return millionths(a) > millionths(b);
  });
  return links;
}

}  // namespace orrery
