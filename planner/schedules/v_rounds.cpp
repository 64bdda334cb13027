#include "planner/schedules/v_rounds.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>

namespace orrery {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kSameTime = 1e-9;  // of a mean cell
constexpr int kForward = 0, kGradient = 1;
// The chunk on the way down the V, and the one on the way up.
constexpr int kDown = 0, kUp = 1;

constexpr int kAttempts = 2;

// Before which cells a wait too short for a weight gradient gets one all the same.
struct Fills {
  bool forwards = false, gradients_up = false;
};

struct Made {
  CompactOrder order;
  std::vector<double> idle;  // [rank] after its first cell
};

class Rounds {
 public:
  // `allowed`: what every rank may idle; empty for as little as can be.
  Rounds(const CompactProblem& problem, Fills fills, std::vector<double> allowed)
      : problem_(problem),
        same_time_(kSameTime * mean_cell(problem)),
        fills_(fills),
        allowed_(std::move(allowed)),
        ranks_(problem.ranks()),
        microbatches_(problem.microbatches),
        state_(problem.of_rank.size()) {
    for (auto& kind : ends_) {
      kind.assign(problem.slots.size() * static_cast<std::size_t>(microbatches_), kNever);
    }
    if (!allowed_.empty()) most_allowed_ = *std::max_element(allowed_.begin(), allowed_.end());
  }

  std::optional<Made> run() {
    first_wave();
    top_up();
    for (int round = 0; round < 2 * microbatches_ && !stuck_; ++round) {
      gradients();
      forwards();
    }
    Made made;
    for (int rank = 0; rank < ranks_ && !stuck_; ++rank) {
      while (has_weight(rank)) put_weight(rank);
      for (const int chunk : {kDown, kUp}) {
        if (done(kForward, chunk, rank) < microbatches_ ||
            done(kGradient, chunk, rank) < microbatches_)
          stuck_ = true;
      }
      made.order.push_back(std::move(of(rank).tokens));
      made.idle.push_back(of(rank).idle);
    }
    if (stuck_) return std::nullopt;
    return made;
  }

 private:
  struct Rank {
    double now = 0, idle = 0;
    int live = 0;
    std::array<std::array<int, 2>, 2> done{};  // [kind][chunk]
    std::deque<int> weights;                   // chunks whose weight gradients wait
    std::vector<Token> tokens;
  };

  Rank& of(int rank) { return state_[static_cast<std::size_t>(rank)]; }
  const Rank& of(int rank) const { return state_[static_cast<std::size_t>(rank)]; }
  int done(int kind, int chunk, int rank) const {
    return of(rank).done[static_cast<std::size_t>(kind)][static_cast<std::size_t>(chunk)];
  }
  bool has_weight(int rank) const { return !of(rank).weights.empty(); }
  int limit(int rank) const { return problem_.limits[static_cast<std::size_t>(rank)]; }
  double& end(int kind, int slot, int number) {
    return ends_[static_cast<std::size_t>(kind)]
                [static_cast<std::size_t>(slot * microbatches_ + number)];
  }

  // When the next such cell of a rank has its input; kNever where that has not been put yet.
  double input(int kind, int chunk, int rank) {
    const int number = done(kind, chunk, rank);
    const Slot& slot = problem_.slot(rank, chunk);
    if (number >= microbatches_) return kNever;
    if (kind == kForward) {
      if (slot.previous < 0) return 0;
      const Slot& from = problem_.slots[static_cast<std::size_t>(slot.previous)];
      return end(kForward, slot.previous, number) + from.send_activation;
    }
    const int own =
        problem_.of_rank[static_cast<std::size_t>(rank)][static_cast<std::size_t>(chunk)];
    const double forward = end(kForward, own, number);
    if (slot.next < 0) return forward;
    const Slot& from = problem_.slots[static_cast<std::size_t>(slot.next)];
    return std::max(forward, end(kGradient, slot.next, number) + from.send_gradient);
  }

  void put(int kind, int chunk, int rank) {
    if (stuck_ || done(kind, chunk, rank) >= microbatches_) return;
    const double arrival = input(kind, chunk, rank);
    Rank& own = of(rank);
    if (arrival == kNever || (kind == kForward && own.live >= limit(rank))) {
      stuck_ = true;
      return;
    }
    const Slot& slot = problem_.slot(rank, chunk);
    const double start = std::max(own.now, arrival);
    if (!own.tokens.empty()) own.idle += start - own.now;
    own.now = start + (kind == kForward ? slot.F : slot.I);
    const int index =
        problem_.of_rank[static_cast<std::size_t>(rank)][static_cast<std::size_t>(chunk)];
    end(kind, index, done(kind, chunk, rank)) = own.now;
    ++own.done[static_cast<std::size_t>(kind)][static_cast<std::size_t>(chunk)];
    const auto name = static_cast<std::uint8_t>(chunk);
    own.tokens.push_back({kind == kForward ? CellKind::kF : CellKind::kI, name, name});
    if (kind == kForward) {
      ++own.live;
    } else {
      own.weights.push_back(chunk);
    }
  }

  void put_weight(int rank) {
    Rank& own = of(rank);
    const int chunk = own.weights.front();
    own.weights.pop_front();
    own.now += problem_.slot(rank, chunk).W;
    --own.live;
    const auto name = static_cast<std::uint8_t>(chunk);
    own.tokens.push_back({CellKind::kW, name, name});
  }

  double next_weight(int rank) const { return problem_.slot(rank, of(rank).weights.front()).W; }
  // How much longer a rank may idle than it has.
  double patience(int rank) const {
    double most = 0;
    for (const Rank& other : state_) most = std::max(most, other.idle);
    if (!allowed_.empty())
      most = std::max(most, most_allowed_ - allowed_[static_cast<std::size_t>(rank)]);
    return most - of(rank).idle;
  }

  // Weight gradients in the wait for a cell, and one that is longer than what is left of it where
  // `fill` says so and the rank would otherwise become the worst.
  void put_after_weights(int kind, int chunk, int rank, bool fill) {
    const double arrival = input(kind, chunk, rank);
    const Rank& own = of(rank);
    while (arrival < kNever && has_weight(rank) &&
           arrival >= own.now + next_weight(rank) - same_time_)
      put_weight(rank);
    if (fill && arrival < kNever && has_weight(rank) &&
        arrival - own.now > patience(rank) + same_time_)
      put_weight(rank);
    put(kind, chunk, rank);
  }

  void first_wave() {
    for (int rank = 0; rank < ranks_; ++rank) put(kForward, kDown, rank);
    for (int rank = ranks_ - 1; rank >= 0 && !stuck_; --rank) {
      const double arrival = input(kForward, kUp, rank);
      while (!stuck_ && of(rank).live + 2 + 2 * rank <= limit(rank) &&
             of(rank).now + problem_.slot(rank, kDown).F <= arrival + same_time_ &&
             done(kForward, kDown, rank) < microbatches_) {
        for (int above = 0; above <= rank; ++above) put(kForward, kDown, above);
      }
      put(kForward, kUp, rank);
    }
  }

  // No rank starts its gradients with fewer forwards than the rank before it.
  void top_up() {
    int chunk = kDown;
    const auto forwards = [&](int rank) {
      return done(kForward, kDown, rank) + done(kForward, kUp, rank);
    };
    for (int rank = 1; rank < ranks_; ++rank) {
      while (!stuck_ && (forwards(rank) < forwards(rank - 1) ||
                         (done(kForward, kUp, rank) <= done(kForward, kUp, rank - 1) &&
                          done(kForward, kUp, rank - 1) < microbatches_))) {
        for (int below = ranks_ - 1; below >= rank; --below) put(kForward, chunk, below);
        chunk = chunk == kDown ? kUp : kDown;
      }
    }
  }

  // Gradients run against the forwards: first through the chunks of the way up.
  int gradient_turn(int rank) {
    if (done(kGradient, kDown, rank) >= done(kGradient, kUp, rank)) return kUp;
    if (rank == ranks_ - 1 || done(kGradient, kUp, rank) >= microbatches_) return kDown;
    return input(kGradient, kDown, rank) < kNever ? kDown : kUp;
  }

  void gradients() {
    std::vector<int> turn;
    for (int rank = 0; rank < ranks_; ++rank) turn.push_back(gradient_turn(rank));
    for (int rank = ranks_ - 1; rank >= 0; --rank) {
      if (turn[static_cast<std::size_t>(rank)] == kDown)
        put_after_weights(kGradient, kDown, rank, true);
    }
    for (int rank = 0; rank < ranks_; ++rank) {
      if (turn[static_cast<std::size_t>(rank)] == kUp)
        put_after_weights(kGradient, kUp, rank, fills_.gradients_up);
    }
  }

  void forwards() {
    for (int rank = 0; rank < ranks_ && !stuck_; ++rank) {
      if (done(kForward, kUp, rank) >= microbatches_) continue;
      int chunk = kUp;
      if (done(kForward, kUp, rank) >= done(kForward, kDown, rank)) {
        chunk = kDown;
      } else if (rank < ranks_ - 1 && input(kForward, kUp, rank) == kNever) {
        if (input(kForward, kDown, rank) == kNever) continue;
        chunk = kDown;
      }
      while (of(rank).live >= limit(rank) && has_weight(rank)) put_weight(rank);
      put_after_weights(kForward, chunk, rank, fills_.forwards);
    }
  }

  const CompactProblem& problem_;
  double same_time_;
  Fills fills_;
  std::vector<double> allowed_;
  double most_allowed_ = 0;
  int ranks_, microbatches_;
  std::vector<Rank> state_;
  std::array<std::vector<double>, 2> ends_;  // [kind][slot x micro-batches + number]
  bool stuck_ = false;
};

}  // namespace

std::vector<CompactOrder> v_rounds(const CompactProblem& problem) {
  std::vector<CompactOrder> orders;
  for (const Fills fills : {Fills{true, true}, {false, true}, {true, false}, {false, false}}) {
    std::vector<double> allowed;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      auto made = Rounds(problem, fills, std::move(allowed)).run();
      if (!made) break;
      orders.push_back(std::move(made->order));
      allowed = std::move(made->idle);
    }
  }
  return orders;
}

}  // namespace orrery
