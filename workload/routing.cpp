#include "workload/routing.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "core/error.hpp"
#include "workload/random.hpp"

namespace orrery {
namespace {

// Groups ranked by the sum of the best `per_group` affinities of each; returns whether each group
// is kept.
std::vector<char> keep_groups(const Moe& moe, const std::vector<double>& affinity) {
  const int group_size = moe.experts / moe.groups;
  // DeepSeek-V3 sums the highest K_r / M affinities of each node (report, section 2.1.2), 8 / 4
  // = 2.
  const int counted = std::max(1, moe.top_k / moe.groups_per_token);
  std::vector<std::pair<double, int>> score(moe.groups);
  std::vector<double> members(group_size);
  for (int group = 0; group < moe.groups; ++group) {
    std::copy_n(affinity.begin() + group * group_size, group_size, members.begin());
    std::partial_sort(members.begin(), members.begin() + counted, members.end(), std::greater<>());
    score[group] = {-std::accumulate(members.begin(), members.begin() + counted, 0.0), group};
  }
  std::sort(score.begin(), score.end());
  std::vector<char> kept(moe.groups, 0);
  for (int place = 0; place < moe.groups_per_token; ++place) kept[score[place].second] = 1;
  return kept;
}

}  // namespace

RoutingSample::RoutingSample(const Moe& moe, std::uint64_t seed, int tokens) : moe_(moe) {
  if (moe.experts == 0) return;
  const int group_size = moe.experts / moe.groups;
  Random random(seed);
  chosen_.reserve(static_cast<std::size_t>(tokens) * moe.top_k);
  std::vector<double> affinity(moe.experts);
  std::vector<std::pair<double, int>> order(moe.experts);
  for (int token = 0; token < tokens; ++token) {
    for (double& value : affinity) value = 1 / (1 + std::exp(-random.normal()));
    const std::vector<char> kept = keep_groups(moe, affinity);
    for (int expert = 0; expert < moe.experts; ++expert) {
      order[expert] = {kept[expert / group_size] ? -affinity[expert] : 1.0, expert};
    }
    std::partial_sort(order.begin(), order.begin() + moe.top_k, order.end());
    for (int choice = 0; choice < moe.top_k; ++choice) chosen_.push_back(order[choice].second);
  }
}

RoutingSpread RoutingSample::spread(int ep, int group_gpus_per_node) const {
  if (chosen_.empty()) return {};
  ORRERY_CHECK(ep > 0 && moe_.experts % ep == 0, "ep {} experts {}", ep, moe_.experts);
  const int experts_per_gpu = moe_.experts / ep;
  const int gpus_per_node = std::clamp(group_gpus_per_node, 1, ep);
  const int nodes = (ep + gpus_per_node - 1) / gpus_per_node;
  std::vector<int> last_on_gpu(ep, -1);
  std::vector<int> last_on_node(nodes, -1);
  long gpu_copies = 0;
  long node_copies = 0;
  const int tokens = static_cast<int>(chosen_.size() / moe_.top_k);
  for (int token = 0; token < tokens; ++token) {
    for (int choice = 0; choice < moe_.top_k; ++choice) {
      const int gpu =
          chosen_[static_cast<std::size_t>(token) * moe_.top_k + choice] / experts_per_gpu;
      if (last_on_gpu[gpu] != token) {
        last_on_gpu[gpu] = token;
        ++gpu_copies;
      }
      const int node = gpu / gpus_per_node;
      if (last_on_node[node] != token) {
        last_on_node[node] = token;
        ++node_copies;
      }
    }
  }
  RoutingSpread spread;
  spread.nodes_per_token = static_cast<double>(node_copies) / tokens;
  // Choices do not depend on where the token is, so its own node is a target as often as any other.
  spread.remote_nodes_per_token = spread.nodes_per_token * (nodes - 1) / nodes;
  spread.gpus_per_token = static_cast<double>(gpu_copies) / tokens;
  return spread;
}

std::vector<double> RoutingSample::rows(int ep) const {
  std::vector<double> rows(static_cast<std::size_t>(ep), 0.0);
  const double share = static_cast<double>(ep) / static_cast<double>(chosen_.size());
  for (std::int32_t expert : chosen_)
    rows[static_cast<std::size_t>(expert / (moe_.experts / ep))] += share;
  return rows;
}

double RoutingSample::choices_in_group_variance() const {
  const int group_size = moe_.experts / moe_.groups;
  const auto tokens = chosen_.size() / static_cast<std::size_t>(moe_.top_k);
  double squares = 0;
  std::vector<int> choices(static_cast<std::size_t>(moe_.groups));
  for (std::size_t token = 0; token < tokens; ++token) {
    std::fill(choices.begin(), choices.end(), 0);
    for (int choice = 0; choice < moe_.top_k; ++choice) {
      const std::size_t at =
          token * static_cast<std::size_t>(moe_.top_k) + static_cast<std::size_t>(choice);
      ++choices[static_cast<std::size_t>(chosen_[at] / group_size)];
    }
    for (int count : choices) squares += static_cast<double>(count) * count;
  }
  // All groups are alike, so they are averaged over.
  const double mean = static_cast<double>(moe_.top_k) / moe_.groups;
  return squares / (static_cast<double>(tokens) * moe_.groups) - mean * mean;
}

}  // namespace orrery
