#pragma once
// Searches the orders of a schedule by simulated annealing: a token is moved, a pair (with its
// weight gradient or without) taken apart or put together, most often on the critical path; a
// change that keeps the memory limit is kept where the cost does not grow, or by chance where it
// grows a little.
//
// From an order that is its own mirror image (direction 1 does what direction 0 does at the other
// end) only such orders are searched: half the decisions.
#include <cstdint>
#include <random>

#include "planner/schedules/compact.hpp"

namespace orrery {

class OrderSearch {
 public:
  // `start` is valid and keeps the limits. Full backwards that are no shorter
  // than I and W are taken as these.
  OrderSearch(const CompactProblem& problem, CompactOrder start, std::uint64_t seed);

  // Goes on for so many orders, or until one takes no longer than `enough`, at a temperature that
  // falls from `hot` (in mean cell lengths) by so many halvings; how many it timed.
  long advance(long evaluations, double hot, double halvings, double enough = 0);
  const CompactOrder& best() const { return best_; }
  double makespan() const { return best_makespan_; }

 private:
  // Makes `changed_` of the tokens of a rank; false where the change drawn cannot be made.
  bool change(int rank, int token);
  bool move(int token);
  bool take_apart(int token);
  bool join_backward(int rank, int token);
  bool put_together(int rank, int token);
  void mirror(int rank);
  void find_critical_path();

  const CompactProblem& problem_;
  CompactTimer timer_;
  std::mt19937_64 random_;
  double unit_ = 1;
  bool mirrored_ = false;
  CompactOrder current_;
  double current_cost_ = 0, current_makespan_ = 0;
  std::vector<Token> changed_;
  std::vector<CompactTimer::Place> critical_;
  int since_critical_ = 0;
  CompactOrder best_;
  double best_makespan_ = 0;
};

// Full backwards taken apart into input gradient and weight gradient, where both take as long.
CompactOrder split_backwards(const CompactProblem& problem, const CompactOrder& order);

// Whether direction 1 does at rank p-1-r what direction 0 does at rank r, in as much time.
bool is_mirrored(const CompactProblem& problem, const CompactOrder& order);

}  // namespace orrery
