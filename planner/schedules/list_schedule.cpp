#include "planner/schedules/list_schedule.hpp"

#include <algorithm>

namespace orrery {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
constexpr double kSameTime = 1e-9;  // of a mean cell
constexpr double kWithRounding = 1 + 1e-9;

// A well mixed number in [0, 1) that depends on all of its arguments.
double noise_of(std::uint32_t seed, std::uint32_t slot, std::uint32_t number, std::uint32_t kind) {
  std::uint32_t x = seed * 2654435761U + slot * 40503U + number * 3U + kind;
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  x ^= x >> 16;
  return (x & 0xffffU) / 65536.0;
}

class ListScheduler {
 public:
  ListScheduler(const CompactProblem& problem, const ListPolicy& policy)
      : problem_(problem),
        same_time_(kSameTime * mean_cell(problem)),
        policy_(policy),
        stride_(static_cast<std::size_t>(problem.microbatches)),
        activation_(problem.slots.size() * stride_, kNever),
        gradient_(problem.slots.size() * stride_, kNever),
        forwards_(problem.slots.size()),
        gradients_(problem.slots.size()),
        weights_(problem.slots.size()),
        live_(problem.of_rank.size()),
        live_bytes_(problem.of_rank.size()),
        waiting_bytes_(problem.of_rank.size()),
        had_gradient_(problem.of_rank.size(), 0),
        last_(problem.of_rank.size(), CellKind::kW),
        free_(problem.of_rank.size()),
        order_(problem.of_rank.size()) {
    for (const Slot& slot : problem.slots) left_ += 3L * slot.microbatches;
    for (std::size_t slot = 0; slot < problem.slots.size(); ++slot) {
      if (problem.slots[slot].previous < 0) {
        std::fill_n(activation_.begin() + static_cast<std::ptrdiff_t>(slot * stride_), stride_,
                    0.0);
      }
    }
  }

  std::optional<CompactOrder> run() {
    std::vector<Choice> choices;
    for (std::size_t rank = 0; rank < order_.size(); ++rank) choices.push_back(choose(rank));
    while (left_ > 0) {
      // What starts first cannot be disturbed by anything that is decided later.
      const auto first =
          std::min_element(choices.begin(), choices.end(),
                           [](const Choice& a, const Choice& b) { return a.start < b.start; });
      if (first->start == kNever) return std::nullopt;
      const auto rank = static_cast<std::size_t>(first - choices.begin());
      touched_.clear();
      touched_.push_back(rank);
      carry_out(rank, *first);
      for (std::size_t other : touched_) choices[other] = choose(other);
    }
    return std::move(order_);
  }

 private:
  struct Choice {
    double start = kNever;
    Token token;
  };
  struct Candidate {
    double start = 0, liked = 0;
    Token token;
    bool fits = true;  // alone; in a pair it may all the same
  };

  int slot_index(std::size_t rank, std::size_t chunk) const {
    return problem_.of_rank[rank][chunk];
  }
  std::size_t at(int slot, int number) const {
    return static_cast<std::size_t>(slot) * stride_ + static_cast<std::size_t>(number);
  }

  bool counts_bytes() const { return !problem_.bytes.empty(); }
  bool fits(std::size_t rank, const Token& token) const {
    return !counts_bytes() || live_bytes_[rank] + problem_.bytes_of(rank, token).peak <=
                                  problem_.byte_limits[rank] * kWithRounding;
  }
  // A forward leaves room for any input gradient, once all that waits has had its weight gradient.
  bool forward_fits(std::size_t rank, const Token& token) const {
    if (!counts_bytes()) return true;
    if (!fits(rank, token)) return false;
    double most = 0;
    for (std::size_t chunk = 0; chunk < problem_.of_rank[rank].size(); ++chunk) {
      const auto name = static_cast<std::uint8_t>(chunk);
      most = std::max(most, problem_.bytes_of(rank, {CellKind::kI, name, name}).peak);
    }
    return live_bytes_[rank] + waiting_bytes_[rank] + problem_.bytes_of(rank, token).kept + most <=
           problem_.byte_limits[rank] * kWithRounding;
  }
  bool is_full(std::size_t rank) const {
    if (live_[rank] >= problem_.limits[rank]) return true;
    if (!counts_bytes()) return false;
    for (std::size_t chunk = 0; chunk < problem_.of_rank[rank].size(); ++chunk) {
      const auto name = static_cast<std::uint8_t>(chunk);
      if (fits(rank, {CellKind::kF, name, name})) return false;
    }
    return true;
  }

  // activation_[slot]: when the inputs of its forwards arrive; gradient_[slot] likewise.
  Choice choose(std::size_t rank) {
    const RankPolicy& policy = policy_.ranks[rank];
    const double now = free_[rank];
    candidates_.clear();
    const std::size_t chunks = problem_.of_rank[rank].size();
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      const int index = slot_index(rank, chunk);
      const auto slot = static_cast<std::size_t>(index);
      const ChunkPolicy& own = policy.chunks[chunk];
      const auto name = static_cast<std::uint8_t>(chunk);
      const auto liked = [&](double base, int number, std::uint32_t kind) {
        const CellKind kind_now = kind == 0 ? CellKind::kF : CellKind::kI;
        if (last_[rank] == kind_now) base -= policy.alternation;
        if (policy_.noise == 0) return base;
        return base + policy_.noise * noise_of(policy_.seed, static_cast<std::uint32_t>(slot),
                                               static_cast<std::uint32_t>(number), kind);
      };
      const int forward = forwards_[slot];
      const int most = had_gradient_[rank] ? own.most : std::min(own.most, own.most_at_first);
      const bool room = live_[rank] < problem_.limits[rank] && forward - weights_[slot] < most;
      if (forward < problem_.slots[slot].microbatches && room &&
          activation_[at(index, forward)] < kNever) {
        candidates_.push_back({std::max(now, activation_[at(index, forward)]),
                               liked(own.forward, forward, 0),
                               {CellKind::kF, name, name},
                               forward_fits(rank, {CellKind::kF, name, name})});
      }
      const int gradient = gradients_[slot];
      if (gradient < forward && gradient_[at(index, gradient)] < kNever) {
        const double needs = problem_.slots[slot].needs_gradient;
        candidates_.push_back({std::max(now, gradient_[at(index, gradient)] - needs),
                               liked(own.gradient, gradient, 1),
                               {CellKind::kI, name, name},
                               fits(rank, {CellKind::kI, name, name})});
      }
    }
    if (const Choice pair = choose_pair(rank, candidates_, now, policy.wait_for_pair);
        pair.start < kNever)
      return pair;
    double earliest = kNever;
    for (const Candidate& candidate : candidates_) {
      if (candidate.fits) earliest = std::min(earliest, candidate.start);
    }
    const Candidate* best = nullptr;
    for (const Candidate& candidate : candidates_) {
      const double patience = candidate.token.kind == CellKind::kI ? policy.wait_for_gradient : 0.0;
      if (!candidate.fits || candidate.start > earliest + patience + same_time_) continue;
      if (best == nullptr || candidate.liked > best->liked) best = &candidate;
    }
    // Of several W's that of the chunk with most of them waiting.
    int waiting = 0;
    std::size_t weight_chunk = 0;
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      const auto slot = static_cast<std::size_t>(slot_index(rank, chunk));
      if (gradients_[slot] - weights_[slot] > waiting) {
        waiting = gradients_[slot] - weights_[slot];
        weight_chunk = chunk;
      }
    }
    if (waiting > 0) {
      const double length =
          problem_.slots[static_cast<std::size_t>(slot_index(rank, weight_chunk))].W;
      const double full = is_full(rank) ? 1 : 0;
      const auto name = static_cast<std::uint8_t>(weight_chunk);
      if (best == nullptr || best->start - now > policy.wait_before_weight * length + same_time_ ||
          policy.weight + full > best->liked) {
        return {now, {CellKind::kW, name, name}};
      }
    }
    return best == nullptr ? Choice{} : Choice{best->start, best->token};
  }

  Choice choose_pair(std::size_t rank, std::span<const Candidate> candidates, double now,
                     double patience) const {
    Choice best;
    double most_liked = 0;
    for (const Candidate& forward : candidates) {
      if (forward.token.kind != CellKind::kF) continue;
      for (const Candidate& gradient : candidates) {
        if (gradient.token.kind != CellKind::kI ||
            !problem_.pair_helps(rank, forward.token.forward, gradient.token.backward))
          continue;
        if (!fits(rank, {CellKind::kFB, forward.token.forward, gradient.token.backward})) continue;
        const double start = std::max(forward.start, gradient.start);
        const double first = std::min(forward.start, gradient.start);
        if (start > std::max(now, first) + patience) continue;
        const double liked = forward.liked + gradient.liked;
        const bool sooner = start < best.start - same_time_;
        const bool as_soon = start <= best.start + same_time_;
        if (sooner || (as_soon && liked > most_liked)) {
          best = {start, {CellKind::kFB, forward.token.forward, gradient.token.backward}};
          most_liked = liked;
        }
      }
    }
    return best;
  }

  const CompactPair& of_pair(std::size_t rank, const Token& token) const {
    return problem_.pair(rank, token.forward, token.backward);
  }

  void carry_out(std::size_t rank, const Choice& choice) {
    const Token token = choice.token;
    const double end = choice.start + token_duration(problem_, static_cast<int>(rank), token);
    const bool pair = token.kind == CellKind::kFB;
    if (token.has_forward()) {
      const int index = slot_index(rank, token.forward);
      const Slot& slot = problem_.slots[static_cast<std::size_t>(index)];
      const int number = forwards_[static_cast<std::size_t>(index)]++;
      const double ready = pair ? of_pair(rank, token).forward_at(choice.start, end) : end;
      if (slot.next >= 0) {
        activation_[at(slot.next, number)] = ready + slot.send_activation;
        touch(slot.next);
      } else {
        gradient_[at(index, number)] = ready;
      }
      ++live_[rank];
      --left_;
    }
    if (token.has_input_gradient()) {
      had_gradient_[rank] = 1;
      const int index = slot_index(rank, token.backward);
      const Slot& slot = problem_.slots[static_cast<std::size_t>(index)];
      const int number = gradients_[static_cast<std::size_t>(index)]++;
      const double ready = pair ? of_pair(rank, token).gradient_at(choice.start, end) : end;
      if (slot.previous >= 0) {
        gradient_[at(slot.previous, number)] = ready + slot.send_gradient;
        touch(slot.previous);
      }
      --left_;
    }
    if (token.has_weight_gradient()) {
      ++weights_[static_cast<std::size_t>(slot_index(rank, token.backward))];
      --live_[rank];
      --left_;
    }
    if (counts_bytes()) {
      live_bytes_[rank] += problem_.bytes_of(rank, token).kept;
      if (token.kind == CellKind::kI || token.kind == CellKind::kW) {
        const Token weight{CellKind::kW, token.backward, token.backward};
        const double freed = problem_.bytes_of(rank, weight).kept;
        waiting_bytes_[rank] += token.kind == CellKind::kI ? freed : -freed;
      }
    }
    free_[rank] = end;
    if (token.kind == CellKind::kF || token.kind == CellKind::kI) last_[rank] = token.kind;
    order_[rank].push_back(token);
  }

  void touch(int slot) {
    touched_.push_back(
        static_cast<std::size_t>(problem_.slots[static_cast<std::size_t>(slot)].rank));
  }

  const CompactProblem& problem_;
  double same_time_;
  const ListPolicy& policy_;
  std::size_t stride_;
  long left_ = 0;
  std::vector<double> activation_, gradient_;
  std::vector<int> forwards_, gradients_, weights_;  // [slot] done
  std::vector<int> live_;                            // [rank]
  std::vector<double> live_bytes_;                   // [rank]
  std::vector<double> waiting_bytes_;  // [rank] what the W's that wait would add: negative
  std::vector<char> had_gradient_;     // [rank]
  std::vector<CellKind> last_;         // [rank] F or I, the last of them
  std::vector<double> free_;           // [rank]
  std::vector<std::size_t> touched_;
  std::vector<Candidate> candidates_;  // scratch of choose()
  CompactOrder order_;
};

}  // namespace

std::optional<CompactOrder> list_schedule(const CompactProblem& problem, const ListPolicy& policy) {
  return ListScheduler(problem, policy).run();
}

}  // namespace orrery
