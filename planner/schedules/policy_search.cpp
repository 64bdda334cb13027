#include "planner/schedules/policy_search.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "planner/schedules/chance.hpp"

namespace orrery {

double search_cost(double makespan, const std::vector<double>& ends) {
  constexpr double kOfMeanEnd = 0.01;
  const double sum = std::accumulate(ends.begin(), ends.end(), 0.0);
  return makespan + kOfMeanEnd * sum / static_cast<double>(ends.size());
}

PolicySearch::PolicySearch(const CompactProblem& problem, std::uint64_t seed)
    : problem_(problem), timer_(problem), random_(seed), unit_(mean_cell(problem)) {}

// Near chunks get in their forwards early and many of them, far ones few and late: the limits of a
// chunk start from how far its stage is from the end of its stream.
ListPolicy PolicySearch::draw() {
  ListPolicy policy;
  const double gradient = uniform_of(random_, 0, 1.5);
  const double far_forward = uniform_of(random_, -0.5, 0.5);
  const double weight = uniform_of(random_, -2, 1.5);
  const int ranks = problem_.ranks();
  for (int rank = 0; rank < ranks; ++rank) {
    RankPolicy own;
    const int chunks = static_cast<int>(problem_.of_rank[static_cast<std::size_t>(rank)].size());
    const int limit = problem_.limits[static_cast<std::size_t>(rank)];
    std::vector<int> ahead;  // stages before each chunk
    for (int chunk = 0; chunk < chunks; ++chunk) {
      int stages = 0;
      for (int slot = problem_.slot(rank, chunk).previous; slot >= 0;
           slot = problem_.slots[static_cast<std::size_t>(slot)].previous)
        ++stages;
      ahead.push_back(stages);
    }
    const int nearest = *std::min_element(ahead.begin(), ahead.end());
    const int sum = std::accumulate(ahead.begin(), ahead.end(), chunks);
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const int stages = ahead[static_cast<std::size_t>(chunk)];
      const bool near = stages == nearest;
      int most = limit;
      if (chunks > 1) {
        const double share = 1 - static_cast<double>(stages + 1) / (sum + 1);
        most = static_cast<int>(std::lround(share * limit)) +
               (near ? whole_of(random_, -1, 1) : whole_of(random_, 0, 2));
      }
      own.chunks.push_back({near ? 0 : far_forward,
                            gradient + (near ? 0 : uniform_of(random_, -0.3, 0.3)),
                            std::clamp(most, 1, limit)});
    }
    own.weight = weight;
    own.wait_before_weight = uniform_of(random_, 0, 1);
    own.wait_for_gradient = whole_of(random_, 0, 3) > 0 ? 0 : uniform_of(random_, 0, 0.5) * unit_;
    own.wait_for_pair = uniform_of(random_, 0, 2.5) * unit_;
    policy.ranks.push_back(std::move(own));
  }
  policy.noise = whole_of(random_, 0, 1) == 1 ? 0 : uniform_of(random_, 0, 0.5);
  policy.seed = static_cast<std::uint32_t>(random_());
  return policy;
}

ListPolicy PolicySearch::change(ListPolicy policy) {
  const int ranks = problem_.ranks();
  const int changes = whole_of(random_, 1, 3);
  for (int number = 0; number < changes; ++number) {
    const int rank = whole_of(random_, 0, ranks - 1);
    const int chunks = static_cast<int>(policy.ranks[static_cast<std::size_t>(rank)].chunks.size());
    const int chunk = whole_of(random_, 0, chunks - 1);
    const int where = whole_of(random_, 0, 2);
    // One rank, or with its mirror image, or all.
    const auto apply = [&](auto action) {
      for (int other = 0; other < ranks; ++other) {
        const bool own = other == rank;
        const bool mirror = other == ranks - 1 - rank && where == 1;
        if (!own && !mirror && where != 2) continue;
        RankPolicy& of = policy.ranks[static_cast<std::size_t>(other)];
        const int last = static_cast<int>(of.chunks.size()) - 1;
        const int there = mirror && !own ? last - chunk : std::min(chunk, last);
        action(of, of.chunks[static_cast<std::size_t>(there)],
               problem_.limits[static_cast<std::size_t>(other)]);
      }
    };
    switch (whole_of(random_, 0, 7)) {
      case 0: {
        const double by = uniform_of(random_, -0.6, 0.6);
        apply([&](RankPolicy&, ChunkPolicy& of, int) { of.forward += by; });
        break;
      }
      case 1: {
        const double by = uniform_of(random_, -0.6, 0.6);
        apply([&](RankPolicy&, ChunkPolicy& of, int) { of.gradient += by; });
        break;
      }
      case 2:
      case 3: {
        const int by = whole_of(random_, 0, 1) == 1 ? 1 : -1;
        apply([&](RankPolicy&, ChunkPolicy& of, int limit) {
          of.most = std::clamp(of.most + by, 1, limit);
        });
        break;
      }
      case 4: {
        const double to = uniform_of(random_, 0, 1.2);
        apply([&](RankPolicy& of, ChunkPolicy&, int) { of.wait_before_weight = to; });
        break;
      }
      case 5: {
        const double to = whole_of(random_, 0, 1) == 1 ? 0 : uniform_of(random_, 0, 0.7) * unit_;
        apply([&](RankPolicy& of, ChunkPolicy&, int) { of.wait_for_gradient = to; });
        break;
      }
      case 6: {
        const double by = uniform_of(random_, -1.5, 1.5);
        apply([&](RankPolicy& of, ChunkPolicy&, int) { of.weight += by; });
        break;
      }
      default:
        if (whole_of(random_, 0, 1) == 1) {
          const double to = uniform_of(random_, 0, 3) * unit_;
          apply([&](RankPolicy& of, ChunkPolicy&, int) { of.wait_for_pair = to; });
        } else {
          policy.noise = whole_of(random_, 0, 2) > 0 ? 0 : uniform_of(random_, 0, 0.8);
          policy.seed = static_cast<std::uint32_t>(random_());
        }
    }
  }
  return policy;
}

long PolicySearch::advance(long evaluations, double enough) {
  constexpr long kPatience = 3000;       // schedules without improvement before a new start
  constexpr double kTemperature = 0.05;  // of a mean cell
  long number = 0;
  while (number < evaluations && best_makespan_ > enough) {
    ++number;
    const bool fresh = current_.ranks.empty() || current_cost_ == CompactTimer::kDeadlock ||
                       since_better_ > kPatience;
    ListPolicy policy = fresh ? draw() : change(current_);
    if (fresh) {
      current_cost_ = CompactTimer::kDeadlock;
      since_better_ = 0;
    }
    std::optional<CompactOrder> order = list_schedule(problem_, policy);
    if (!order) continue;
    const double makespan = timer_.makespan(*order);
    const double cost = search_cost(makespan, timer_.ends());
    ++since_better_;
    const bool taken =
        cost <= current_cost_ || takes_chance(random_, cost - current_cost_, kTemperature * unit_);
    if (taken) {
      if (cost < current_cost_ - 1e-9 * unit_) since_better_ = 0;
      current_cost_ = cost;
      current_ = std::move(policy);
    }
    if (cost < best_cost_) {
      best_cost_ = cost;
      best_makespan_ = makespan;
      best_ = std::move(*order);
    }
  }
  return number;
}

}  // namespace orrery
