#include "planner/schedules/fill_waits.hpp"

#include <algorithm>
#include <array>

namespace orrery {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kSameTime = 1e-9;  // of a mean cell
// Cells looked at beyond the one whose turn it is.
constexpr std::size_t kAhead = 24;

class Filler {
 public:
  Filler(const CompactProblem& problem, const CompactOrder& order)
      : problem_(problem),
        same_time_(kSameTime * mean_cell(problem)),
        stride_(static_cast<std::size_t>(problem.microbatches)),
        order_(order),
        activation_(problem.slots.size() * stride_, kNever),
        gradient_(problem.slots.size() * stride_, kNever),
        forwards_(problem.slots.size()),
        gradients_(problem.slots.size()),
        weights_(problem.slots.size()),
        at_(order.size()),
        free_(order.size()),
        live_(order.size()),
        live_bytes_(order.size()) {
    for (std::size_t rank = 0; rank < order.size(); ++rank)
      may_change_.push_back(keeps_limit(problem, rank, order[rank]));
    for (std::size_t slot = 0; slot < problem.slots.size(); ++slot) {
      if (problem.slots[slot].previous < 0)
        std::fill_n(activation_.begin() + static_cast<std::ptrdiff_t>(slot * stride_), stride_,
                    0.0);
    }
  }

  CompactOrder run() {
    std::vector<double> starts;
    for (std::size_t rank = 0; rank < order_.size(); ++rank) starts.push_back(next_start(rank));
    for (;;) {
      std::size_t best = order_.size();
      double first = kNever;
      for (std::size_t rank = 0; rank < order_.size(); ++rank) {
        if (starts[rank] < first - same_time_) {
          first = starts[rank];
          best = rank;
        }
      }
      if (best == order_.size()) return std::move(order_);
      touched_ = {best};
      carry_out(best, first);
      for (const std::size_t rank : touched_) starts[rank] = next_start(rank);
    }
  }

 private:
  std::size_t slot_of(std::size_t rank, std::uint8_t chunk) const {
    return static_cast<std::size_t>(problem_.of_rank[rank][chunk]);
  }

  // When the inputs of a token are there, as far as is known.
  double ready(std::size_t rank, const Token& token) const {
    double when = 0;
    if (token.has_forward()) {
      const std::size_t slot = slot_of(rank, token.forward);
      when =
          std::max(when, activation_[slot * stride_ + static_cast<std::size_t>(forwards_[slot])]);
    }
    if (token.has_input_gradient()) {
      const std::size_t slot = slot_of(rank, token.backward);
      if (gradients_[slot] >= forwards_[slot]) return kNever;
      const double needs = token.has_forward() ? 0 : problem_.slots[slot].needs_gradient;
      when = std::max(
          when, gradient_[slot * stride_ + static_cast<std::size_t>(gradients_[slot])] - needs);
    }
    if (token.kind == CellKind::kW) {
      const std::size_t slot = slot_of(rank, token.backward);
      if (weights_[slot] >= gradients_[slot]) return kNever;
    }
    return when;
  }

  double next_start(std::size_t rank) {
    return at_[rank] == order_[rank].size() ? kNever : choose(rank);
  }

  // Whether the token at `later` may come before those from `turn` on: as the whole order keeps its
  // limits, only what is between them matters.
  bool may_come_first(std::size_t rank, std::size_t turn, std::size_t later) const {
    constexpr double kRoundingUp = 1 + 1e-9;
    const std::vector<Token>& tokens = order_[rank];
    const std::size_t chunks = problem_.of_rank[rank].size();
    std::array<int, kMostChunks> forwards{}, gradients{}, weights{};
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      const std::size_t slot = slot_of(rank, static_cast<std::uint8_t>(chunk));
      forwards[chunk] = forwards_[slot];
      gradients[chunk] = gradients_[slot];
      weights[chunk] = weights_[slot];
    }
    int live = live_[rank];
    double bytes = live_bytes_[rank];
    const auto fits = [&](const Token& token) {
      if (token.has_input_gradient() && ++gradients[token.backward] > forwards[token.backward])
        return false;
      if (token.has_forward()) {
        ++forwards[token.forward];
        if (++live > problem_.limits[rank]) return false;
      }
      if (token.has_weight_gradient()) {
        if (++weights[token.backward] > gradients[token.backward]) return false;
        --live;
      }
      if (problem_.bytes.empty()) return true;
      const TokenBytes& own = problem_.bytes_of(rank, token);
      if (bytes + own.peak > problem_.byte_limits[rank] * kRoundingUp) return false;
      bytes += own.kept;
      return true;
    };
    if (!fits(tokens[later])) return false;
    for (std::size_t between = turn; between < later; ++between) {
      if (!fits(tokens[between])) return false;
    }
    return true;
  }

  // Puts the token to run next in its place and says when it starts.
  double choose(std::size_t rank) {
    std::vector<Token>& tokens = order_[rank];
    const std::size_t turn = at_[rank];
    const double start = std::max(free_[rank], ready(rank, tokens[turn]));
    if (start <= free_[rank] + same_time_ || !may_change_[rank]) return start;
    seen_ = {tokens[turn]};  // of those alike the first comes first
    for (std::size_t later = turn + 1; later < std::min(tokens.size(), turn + kAhead); ++later) {
      const Token token = tokens[later];
      if (std::find(seen_.begin(), seen_.end(), token) != seen_.end()) continue;
      seen_.push_back(token);
      if (ready(rank, token) > free_[rank] + same_time_) continue;
      // Only what fits into the wait, as far as that is known.
      const double end = free_[rank] + token_duration(problem_, static_cast<int>(rank), token);
      if (end > start + same_time_ || !may_come_first(rank, turn, later)) continue;
      std::rotate(tokens.begin() + static_cast<std::ptrdiff_t>(turn),
                  tokens.begin() + static_cast<std::ptrdiff_t>(later),
                  tokens.begin() + static_cast<std::ptrdiff_t>(later) + 1);
      return free_[rank];
    }
    return start;
  }

  const CompactPair& of_pair(std::size_t rank, const Token& token) const {
    return problem_.pair(rank, token.forward, token.backward);
  }

  void carry_out(std::size_t rank, double start) {
    const Token token = order_[rank][at_[rank]++];
    const double end = start + token_duration(problem_, static_cast<int>(rank), token);
    const bool pair = token.has_forward() && token.has_input_gradient();
    if (token.has_forward()) {
      const std::size_t index = slot_of(rank, token.forward);
      const Slot& slot = problem_.slots[index];
      const auto number = static_cast<std::size_t>(forwards_[index]++);
      const double out = pair ? of_pair(rank, token).forward_at(start, end) : end;
      if (slot.next >= 0) {
        activation_[static_cast<std::size_t>(slot.next) * stride_ + number] =
            out + slot.send_activation;
        touch(slot.next);
      } else {
        gradient_[index * stride_ + number] = out;
      }
    }
    if (token.has_input_gradient()) {
      const std::size_t index = slot_of(rank, token.backward);
      const Slot& slot = problem_.slots[index];
      const auto number = static_cast<std::size_t>(gradients_[index]++);
      const double out = pair ? of_pair(rank, token).gradient_at(start, end) : end;
      if (slot.previous >= 0) {
        gradient_[static_cast<std::size_t>(slot.previous) * stride_ + number] =
            out + slot.send_gradient;
        touch(slot.previous);
      }
    }
    if (token.has_weight_gradient()) ++weights_[slot_of(rank, token.backward)];
    live_[rank] += token.has_forward() - token.has_weight_gradient();
    if (!problem_.bytes.empty()) live_bytes_[rank] += problem_.bytes_of(rank, token).kept;
    free_[rank] = end;
  }

  void touch(int slot) {
    touched_.push_back(
        static_cast<std::size_t>(problem_.slots[static_cast<std::size_t>(slot)].rank));
  }

  const CompactProblem& problem_;
  double same_time_;
  std::size_t stride_;
  CompactOrder order_;
  std::vector<double> activation_, gradient_;  // [slot * stride + n]: when inputs arrive
  std::vector<int> forwards_, gradients_, weights_;
  std::vector<std::size_t> at_;
  std::vector<double> free_;
  std::vector<int> live_;             // [rank] activations
  std::vector<double> live_bytes_;    // [rank]
  std::vector<bool> may_change_;      // [rank]: its order keeps the limits
  std::vector<std::size_t> touched_;  // by the token carried out last
  std::vector<Token> seen_;           // by choose()
};

}  // namespace

CompactOrder fill_waits(const CompactProblem& problem, const CompactOrder& order) {
  CompactTimer timer(problem);
  CompactOrder filled = Filler(problem, order).run();
  const double before = timer.makespan(order);
  return timer.makespan(filled) < before ? filled : order;
}

}  // namespace orrery
