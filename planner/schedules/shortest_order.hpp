#pragma once
// What a generator that tries many orders keeps of them.
#include <algorithm>
#include <optional>
#include <vector>

#include "planner/schedules/compact.hpp"
#include "planner/schedules/fill_waits.hpp"

namespace orrery {

// The shortest of the orders tried, each with its waits filled; of equals the first.
class ShortestOrder {
 public:
  explicit ShortestOrder(const CompactProblem& problem) : problem_(problem), timer_(problem) {}

  // `order` is valid and keeps the limits.
  void consider(const CompactOrder& order) {
    if (std::find(tried_.begin(), tried_.end(), order) != tried_.end()) return;
    tried_.push_back(order);
    CompactOrder filled = fill_waits(problem_, order);
    const double makespan = timer_.makespan(filled);
    if (makespan >= makespan_) return;
    makespan_ = makespan;
    order_ = std::move(filled);
  }

  const std::optional<CompactOrder>& order() const { return order_; }
  double makespan() const { return makespan_; }

 private:
  const CompactProblem& problem_;
  CompactTimer timer_;
  std::vector<CompactOrder> tried_;
  std::optional<CompactOrder> order_;
  double makespan_ = CompactTimer::kDeadlock;
};

}  // namespace orrery
