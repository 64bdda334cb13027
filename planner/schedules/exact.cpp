#include "planner/schedules/exact.hpp"

#include <algorithm>
#include <string>
#include <unordered_map>

namespace orrery {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
// Of a mean cell: a schedule that is shorter by less is not, and equal times may differ by less.
constexpr double kLeastGain = 1e-6, kSameTime = 1e-10;

class BranchAndBound {
 public:
  BranchAndBound(const CompactProblem& problem, double known, long node_limit)
      : problem_(problem), node_limit_(node_limit), stride_(problem.microbatches) {
    result_.makespan = known;
    least_gain_ = kLeastGain * mean_cell(problem);
    same_time_ = kSameTime * mean_cell(problem);
    const std::size_t slots = problem.slots.size();
    forwards_.assign(slots, 0);
    gradients_.assign(slots, 0);
    weights_.assign(slots, 0);
    activation_.assign(slots * static_cast<std::size_t>(stride_), kNever);
    gradient_.assign(slots * static_cast<std::size_t>(stride_), kNever);
    free_.assign(problem.of_rank.size(), 0);
    live_.assign(problem.of_rank.size(), 0);
    held_.assign(slots, 0);
    order_.resize(problem.of_rank.size());
    for (std::size_t slot = 0; slot < slots; ++slot) {
      if (problem.slots[slot].previous >= 0) continue;
      for (int number = 0; number < stride_; ++number) activation_[at(slot, number)] = 0;
    }
    make_ways();
  }

  ExactResult run() {
    result_.proven = true;
    search();
    return std::move(result_);
  }

 private:
  struct Choice {
    std::size_t slot;
    CellKind kind;
    double start, end;
  };

  std::size_t at(std::size_t slot, int number) const {
    return slot * static_cast<std::size_t>(stride_) + static_cast<std::size_t>(number);
  }

  // way_back_[slot]: from the end of an I to the end of all that follows from it; way_out_ likewise
  // from the end of a forward to the end of all that follows.
  void make_ways() {
    const std::size_t slots = problem_.slots.size();
    way_back_.assign(slots, 0);
    std::vector<std::size_t> in_order;
    for (std::size_t first = 0; first < slots; ++first) {
      if (problem_.slots[first].previous >= 0) continue;
      double way = 0;
      for (int slot = static_cast<int>(first); slot >= 0;) {
        const Slot& own = problem_.slots[static_cast<std::size_t>(slot)];
        if (slot != static_cast<int>(first)) {
          const Slot& before = problem_.slots[static_cast<std::size_t>(own.previous)];
          way = own.send_gradient + before.I + std::max(before.W, way);
        }
        way_back_[static_cast<std::size_t>(slot)] = way;
        slot = own.next;
      }
    }
  }

  // No schedule from here on is shorter than this.
  double bound() const {
    double most = 0;
    for (std::size_t rank = 0; rank < free_.size(); ++rank) {
      double work = 0, last_gradient_way = kNever;
      double gradients = 0;
      for (const int index : problem_.of_rank[rank]) {
        const auto slot = static_cast<std::size_t>(index);
        const Slot& own = problem_.slots[slot];
        const int m = own.microbatches;
        work += (m - forwards_[slot]) * own.F + (m - gradients_[slot]) * own.I +
                (m - weights_[slot]) * own.W;
        if (gradients_[slot] < m) {
          gradients += (m - forwards_[slot]) * own.F + (m - gradients_[slot]) * own.I;
          last_gradient_way = std::min(last_gradient_way, way_back_[slot]);
        }
      }
      if (work == 0) {
        most = std::max(most, free_[rank]);
        continue;
      }
      most = std::max(most, free_[rank] + work);
      // The last gradient of all chunks has its way to go.
      if (last_gradient_way < kNever)
        most = std::max(most, free_[rank] + gradients + last_gradient_way);
    }
    for (std::size_t first = 0; first < problem_.slots.size(); ++first) {
      if (problem_.slots[first].previous < 0) most = std::max(most, stream_bound(first));
    }
    return most;
  }

  // Along a stream: when the next forward and the next gradient of each slot can start at the
  // earliest, and what is left to do behind them.
  double stream_bound(std::size_t first) const {
    double most = 0, arrival = 0;
    std::size_t last = first;
    for (int index = static_cast<int>(first); index >= 0;
         index = problem_.slots[static_cast<std::size_t>(index)].next) {
      const auto slot = static_cast<std::size_t>(index);
      const Slot& own = problem_.slots[slot];
      const int left = own.microbatches - forwards_[slot];
      last = slot;
      if (left > 0) {
        // Its own input, where it is known; else behind the one of the slot before.
        const double known = activation_[at(slot, forwards_[slot])];
        const double start =
            std::max(free_[static_cast<std::size_t>(own.rank)], known < kNever ? known : arrival);
        const double gradients = left * (own.F + own.I);
        most = std::max(
            {most, start + left * (own.F + own.I + own.W), start + gradients + way_back_[slot]});
        arrival = start + own.F + own.send_activation;
      } else {
        arrival = 0;
      }
    }
    arrival = 0;
    for (int index = static_cast<int>(last); index >= 0;
         index = problem_.slots[static_cast<std::size_t>(index)].previous) {
      const auto slot = static_cast<std::size_t>(index);
      const Slot& own = problem_.slots[slot];
      const int left = own.microbatches - gradients_[slot];
      if (left > 0) {
        const double known = gradient_[at(slot, gradients_[slot])];
        // Its own forward comes first, and may be over before the gradient is there.
        const double forward = gradients_[slot] >= forwards_[slot] ? own.F : 0;
        const double start = std::max(free_[static_cast<std::size_t>(own.rank)] + forward,
                                      known < kNever ? known : arrival);
        most = std::max(
            {most, start + left * (own.I + own.W), start + left * own.I + way_back_[slot]});
        arrival = start + own.I + own.send_gradient;
      } else {
        arrival = 0;
      }
    }
    return most;
  }

  // Whether it is there, and when it would run.
  std::optional<Choice> next(std::size_t slot, CellKind kind) const {
    const Slot& own = problem_.slots[slot];
    const auto rank = static_cast<std::size_t>(own.rank);
    if (kind == CellKind::kF) {
      if (forwards_[slot] == own.microbatches || live_[rank] >= problem_.limits[rank] ||
          held_[slot] != 0)
        return std::nullopt;
      const double ready = activation_[at(slot, forwards_[slot])];
      if (ready == kNever) return std::nullopt;
      const double start = std::max(free_[rank], ready);
      return Choice{slot, kind, start, start + own.F};
    }
    if (kind == CellKind::kI) {
      if (gradients_[slot] >= forwards_[slot]) return std::nullopt;
      const double ready = gradient_[at(slot, gradients_[slot])];
      if (ready == kNever) return std::nullopt;
      const double start = std::max(free_[rank], ready);
      return Choice{slot, kind, start, start + own.I};
    }
    if (weights_[slot] >= gradients_[slot]) return std::nullopt;
    return Choice{slot, kind, free_[rank], free_[rank] + own.W};
  }

  // The counts as a key, and everything that the rest depends on, in one order.
  bool is_dominated() {
    key_.clear();
    times_.clear();
    for (std::size_t slot = 0; slot < problem_.slots.size(); ++slot) {
      key_.push_back(static_cast<char>(forwards_[slot]));
      key_.push_back(static_cast<char>(gradients_[slot]));
      key_.push_back(static_cast<char>(weights_[slot]));
      key_.push_back(static_cast<char>(held_[slot]));
    }
    times_ = free_;
    for (std::size_t slot = 0; slot < problem_.slots.size(); ++slot) {
      const Slot& own = problem_.slots[slot];
      // What has arrived and waits; before the rank is free it does not matter when.
      const double free = free_[static_cast<std::size_t>(own.rank)];
      if (own.previous >= 0) {
        const int there = forwards_[static_cast<std::size_t>(own.previous)];
        for (int number = forwards_[slot]; number < there; ++number)
          times_.push_back(std::max(free, activation_[at(slot, number)]));
      }
      const int there =
          own.next >= 0 ? std::min(gradients_[static_cast<std::size_t>(own.next)], own.microbatches)
                        : forwards_[slot];
      for (int number = gradients_[slot]; number < there; ++number)
        times_.push_back(std::max(free, gradient_[at(slot, number)]));
    }
    auto& known = known_[key_];
    for (const auto& other : known) {
      bool no_later = true;
      for (std::size_t index = 0; index < times_.size() && no_later; ++index)
        no_later = other[index] <= times_[index] + same_time_;
      if (no_later) return true;
    }
    std::erase_if(known, [&](const auto& other) {
      for (std::size_t index = 0; index < times_.size(); ++index) {
        if (times_[index] > other[index] + same_time_) return false;
      }
      return true;
    });
    known.push_back(times_);
    return false;
  }

  void search() {
    if (++result_.nodes > node_limit_) {
      result_.proven = false;
      return;
    }
    if (bound() > result_.makespan - least_gain_) return;
    // The cell that could be through first.
    std::optional<Choice> first;
    bool done = true;
    for (std::size_t slot = 0; slot < problem_.slots.size(); ++slot) {
      done = done && weights_[slot] == problem_.slots[slot].microbatches;
      for (const CellKind kind : {CellKind::kF, CellKind::kI, CellKind::kW}) {
        const std::optional<Choice> choice = next(slot, kind);
        if (choice && (!first || choice->end < first->end - same_time_)) first = choice;
      }
    }
    if (done) {
      const double makespan = *std::max_element(free_.begin(), free_.end());
      if (makespan < result_.makespan - least_gain_) {
        result_.makespan = makespan;
        result_.order = order_;
      }
      return;
    }
    if (!first || is_dominated()) return;
    const auto rank = static_cast<std::size_t>(problem_.slots[first->slot].rank);
    std::vector<Choice> choices;
    for (const int index : problem_.of_rank[rank]) {
      for (const CellKind kind : {CellKind::kI, CellKind::kF, CellKind::kW}) {
        const std::optional<Choice> choice = next(static_cast<std::size_t>(index), kind);
        if (!choice) continue;
        // A cell that takes no time starts when it ends.
        const bool is_first = choice->slot == first->slot && choice->kind == first->kind;
        if (is_first || choice->start < first->end - same_time_) choices.push_back(*choice);
      }
    }
    std::stable_sort(choices.begin(), choices.end(),
                     [](const Choice& a, const Choice& b) { return a.start < b.start; });
    for (const Choice& choice : choices) {
      carry_out(choice);
      if (!result_.proven) return;
    }
    if (first->kind == CellKind::kF && problem_.of_rank[rank].size() > 1) {
      held_[first->slot] = 1;
      search();
      held_[first->slot] = 0;
    }
  }

  void carry_out(const Choice& choice) {
    const Slot& own = problem_.slots[choice.slot];
    const auto rank = static_cast<std::size_t>(own.rank);
    const double free_before = free_[rank];
    std::vector<char> held_before;
    for (const int index : problem_.of_rank[rank]) {
      held_before.push_back(held_[static_cast<std::size_t>(index)]);
      held_[static_cast<std::size_t>(index)] = 0;
    }
    free_[rank] = choice.end;
    const auto chunk = static_cast<std::uint8_t>(std::find(problem_.of_rank[rank].begin(),
                                                           problem_.of_rank[rank].end(),
                                                           static_cast<int>(choice.slot)) -
                                                 problem_.of_rank[rank].begin());
    order_[rank].push_back({choice.kind, chunk, chunk});
    double* told = nullptr;
    if (choice.kind == CellKind::kF) {
      const int number = forwards_[choice.slot]++;
      ++live_[rank];
      told = own.next >= 0 ? &activation_[at(static_cast<std::size_t>(own.next), number)]
                           : &gradient_[at(choice.slot, number)];
      *told = choice.end + own.send_activation;
    } else if (choice.kind == CellKind::kI) {
      const int number = gradients_[choice.slot]++;
      if (own.previous >= 0) {
        told = &gradient_[at(static_cast<std::size_t>(own.previous), number)];
        *told = choice.end + own.send_gradient;
      }
    } else {
      ++weights_[choice.slot];
      --live_[rank];
    }
    search();
    if (choice.kind == CellKind::kF) {
      --forwards_[choice.slot];
      --live_[rank];
    } else if (choice.kind == CellKind::kI) {
      --gradients_[choice.slot];
    } else {
      --weights_[choice.slot];
      ++live_[rank];
    }
    if (told != nullptr) *told = kNever;
    order_[rank].pop_back();
    free_[rank] = free_before;
    std::size_t held = 0;
    for (const int index : problem_.of_rank[rank])
      held_[static_cast<std::size_t>(index)] = held_before[held++];
  }

  const CompactProblem& problem_;
  long node_limit_;
  int stride_;
  double least_gain_ = 0, same_time_ = 0;
  ExactResult result_;
  std::vector<double> way_back_;
  std::vector<int> forwards_, gradients_, weights_;  // [slot] done
  std::vector<double> activation_, gradient_;        // [slot x stride + n]: when inputs arrive
  std::vector<double> free_;                         // [rank]
  std::vector<int> live_;
  std::vector<char> held_;  // [slot]: forwards wait for another cell of the rank
  CompactOrder order_;
  std::string key_;
  std::vector<double> times_;
  std::unordered_map<std::string, std::vector<std::vector<double>>> known_;
};

}  // namespace

ExactResult shortest_schedule(const CompactProblem& problem, double known, long node_limit) {
  return BranchAndBound(problem, known, node_limit).run();
}

}  // namespace orrery
