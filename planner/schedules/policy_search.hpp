#pragma once
// Searches the policies of list scheduling: random changes of a policy (of one rank, of a rank and
// its mirror image, of all ranks), kept where the schedule gets no worse, with now and then a new
// start.
#include <cstdint>
#include <random>

#include "planner/schedules/list_schedule.hpp"

namespace orrery {

class PolicySearch {
 public:
  PolicySearch(const CompactProblem& problem, std::uint64_t seed);

  // Goes on for so many schedules, or until one takes no longer than `enough`; how many it made.
  long advance(long evaluations, double enough = 0);
  // Empty until a policy got through.
  const CompactOrder& best() const { return best_; }
  double makespan() const { return best_makespan_; }

 private:
  ListPolicy draw();
  ListPolicy change(ListPolicy policy);

  const CompactProblem& problem_;
  CompactTimer timer_;
  std::mt19937_64 random_;
  double unit_ = 1;  // mean length of a cell
  ListPolicy current_;
  double current_cost_ = CompactTimer::kDeadlock;
  long since_better_ = 0;
  CompactOrder best_;
  double best_cost_ = CompactTimer::kDeadlock;
  double best_makespan_ = CompactTimer::kDeadlock;
};

// What a search minimises: the makespan, and a little of the mean end of the ranks, which tells
// apart the many orders of one makespan.
double search_cost(double makespan, const std::vector<double>& ends);

}  // namespace orrery
