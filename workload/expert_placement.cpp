#include "workload/expert_placement.hpp"

#include <algorithm>
#include <numeric>

#include "core/error.hpp"

namespace orrery {
namespace {

// Experts first..last-1 on GPUs first_gpu..last_gpu-1.
void balance(std::span<const double> wanted, int first, int last, int first_gpu, int last_gpu,
             std::size_t slots, ExpertPlacement& placement) {
  const auto experts = static_cast<std::size_t>(last - first);
  const std::size_t places = slots * static_cast<std::size_t>(last_gpu - first_gpu);
  std::vector<int> copies(experts, 1);
  const auto share = [&](std::size_t expert) {
    return wanted[static_cast<std::size_t>(first) + expert] / copies[expert];
  };
  for (std::size_t copy = experts; copy < places; ++copy) {
    std::size_t most = 0;
    for (std::size_t expert = 1; expert < experts; ++expert) {
      if (share(expert) > share(most)) most = expert;
    }
    ++copies[most];
  }
  std::vector<std::size_t> order;
  for (std::size_t expert = 0; expert < experts; ++expert)
    order.insert(order.end(), static_cast<std::size_t>(copies[expert]), expert);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return share(a) > share(b); });
  std::vector<double> load(static_cast<std::size_t>(last_gpu - first_gpu));
  for (const std::size_t expert : order) {
    std::size_t best = load.size();
    for (std::size_t gpu = 0; gpu < load.size(); ++gpu) {
      if (placement[static_cast<std::size_t>(first_gpu) + gpu].size() == slots) continue;
      if (best == load.size() || load[gpu] < load[best]) best = gpu;
    }
    placement[static_cast<std::size_t>(first_gpu) + best].push_back(first +
                                                                    static_cast<int>(expert));
    load[best] += share(expert);
  }
}

}  // namespace

ExpertPlacement experts_in_order(int experts, int gpus) {
  ORRERY_CHECK(gpus > 0 && experts % gpus == 0, "{} experts on {} GPUs", experts, gpus);
  ExpertPlacement placement(static_cast<std::size_t>(gpus));
  for (int expert = 0; expert < experts; ++expert)
    placement[static_cast<std::size_t>(expert / (experts / gpus))].push_back(expert);
  return placement;
}

ExpertPlacement balanced_experts(std::span<const double> wanted, int gpus, int spare, int groups) {
  const auto experts = static_cast<int>(wanted.size());
  ORRERY_CHECK(gpus > 0 && experts % gpus == 0 && spare >= 0, "{} experts on {} GPUs, {} spare",
               experts, gpus, spare);
  const bool whole = groups < 2 || gpus % groups != 0 || experts % groups != 0;
  const int parts = whole ? 1 : groups;
  ExpertPlacement placement(static_cast<std::size_t>(gpus));
  for (int part = 0; part < parts; ++part) {
    balance(wanted, part * (experts / parts), (part + 1) * (experts / parts), part * (gpus / parts),
            (part + 1) * (gpus / parts), static_cast<std::size_t>(experts / gpus + spare),
            placement);
  }
  return placement;
}

std::vector<double> loads_of(const ExpertPlacement& placement, std::span<const double> wanted) {
  std::vector<int> copies(wanted.size());
  for (const std::vector<int>& gpu : placement) {
    for (int expert : gpu) ++copies[static_cast<std::size_t>(expert)];
  }
  std::vector<double> loads;
  for (const std::vector<int>& gpu : placement) {
    loads.push_back(std::accumulate(gpu.begin(), gpu.end(), 0.0, [&](double sum, int expert) {
      const auto at = static_cast<std::size_t>(expert);
      return sum + wanted[at] / copies[at];
    }));
  }
  return loads;
}

}  // namespace orrery
