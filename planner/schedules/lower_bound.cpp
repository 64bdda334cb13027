#include "planner/schedules/lower_bound.hpp"

#include <algorithm>
#include <cmath>

namespace orrery {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// What a slot can be done in at the least, alone or in a pair.
struct Least {
  double forward = 0;   // from start to output
  double gradient = 0;  // from its gradient to its output
  double backward = 0;  // from its gradient to the end of its W
};

double full_backward(const Slot& slot) {
  return std::min(slot.I + slot.W, slot.B);
}

class Bounds {
 public:
  explicit Bounds(const CompactProblem& problem)
      : problem_(problem),
        least_(problem.slots.size()),
        head_(problem.slots.size(), 0),
        gradient_(problem.slots.size(), 0),
        way_out_(problem.slots.size(), 0) {
    for (std::size_t rank = 0; rank < problem.of_rank.size(); ++rank) {
      const auto& slots = problem.of_rank[rank];
      for (const int index : slots) {
        const Slot& slot = at(index);
        const double needs = slot.needs_gradient;
        least_[static_cast<std::size_t>(index)] = {
            slot.F, std::min(slot.I, slot.gradient_ready) - needs, full_backward(slot) - needs};
      }
      for (std::size_t forward = 0; forward < slots.size(); ++forward) {
        Least& of_forward = least_[static_cast<std::size_t>(slots[forward])];
        for (std::size_t backward = 0; backward < slots.size(); ++backward) {
          Least& of_backward = least_[static_cast<std::size_t>(slots[backward])];
          const CompactPair& pair = problem.pair(rank, forward, backward);
          const double end = std::min(pair.length, pair.input_length);
          const double out = pair.forward_at(0, end);
          const double back = pair.gradient_at(0, end);
          const auto lower = [](double& value, double by) { value = std::clamp(by, 0.0, value); };
          lower(of_forward.forward, out);
          lower(of_backward.gradient, back - pair.needs_gradient);
          const double weight = at(slots[backward]).W;
          lower(of_backward.backward,
                std::min(pair.length, pair.input_length + weight) - pair.needs_gradient);
        }
      }
    }
    for (std::size_t first = 0; first < problem.slots.size(); ++first) {
      if (problem.slots[first].previous < 0) follow(static_cast<int>(first));
    }
  }

  LowerBound best() {
    LowerBound bound;
    for (int rank = 0; rank < problem_.ranks(); ++rank) raise_to(bound, of_rank(rank));
    for (std::size_t index = 0; index < problem_.slots.size(); ++index) {
      const Slot& slot = problem_.slots[index];
      if (slot.previous < 0 && slot.microbatches > 0)
        raise_to(bound, {gradient_[index] + least_[index].backward, Binding::kLatency, slot.rank});
    }
    return bound;
  }

  LowerBound of_rank(int rank) const {
    LowerBound bound;
    if (problem_.of_rank[static_cast<std::size_t>(rank)].empty()) return bound;
    const auto raise = [&](double makespan, Binding binding) {
      raise_to(bound, {makespan, binding, rank});
    };
    const OfRank of = gather(rank);
    // The largest of the idle times that add up gives the reason.
    const double warm = warm_up(rank, of);
    const double cool = cool_down(rank, of);
    const double held_up = warm - of.head - of.work;
    const double most = std::max({of.head, held_up, cool});
    const Binding reason = most <= 1e-12 * warm ? Binding::kWork
                           : most == of.head    ? Binding::kHead
                           : most == held_up    ? Binding::kWarmUpMemory
                                                : Binding::kCoolDownMemory;
    raise(warm + cool, reason);
    raise(of.head + of.residency / problem_.limits[static_cast<std::size_t>(rank)],
          Binding::kLatency);
    if (!problem_.bytes.empty())
      raise(of.head + of.byte_residency / problem_.byte_limits[static_cast<std::size_t>(rank)],
            Binding::kLatency);
    return bound;
  }

 private:
  // Prices of forwards and backwards by chunk, so that no pair saves more than those of its halves
  // together: then all pairs together save no more than all prices, and each forward that stays
  // alone loses its own.
  struct Savings {
    std::vector<double> forward, backward;
  };

  // Sums and minima over the slots of a rank.
  struct OfRank {
    double head = kNever;      // earliest forward
    double gradient = kNever;  // earliest cell with a gradient
    double to_gradient = kNever, rest = kNever;
    double work = 0;            // less all that pairs can save
    double residency = 0;       // of all activations
    double byte_residency = 0;  // the same times the bytes that each keeps at the least
    double backward = 0;        // longest I + W
    double drain = kNever;      // from a gradient's output to the end of what follows elsewhere
    double weight = 0;          // longest W, or what a full backward still does behind its output
    int forwards = 0;
    Savings savings;
  };

  static void raise_to(LowerBound& bound, const LowerBound& other) {
    // A clear gain, so that rounding does not choose the reason.
    if (other.makespan > bound.makespan * (1 + 1e-12)) bound = other;
  }

  const Slot& at(int index) const { return problem_.slots[static_cast<std::size_t>(index)]; }
  const Least& least(int index) const { return least_[static_cast<std::size_t>(index)]; }

  // Along a stream from its first slot: there and back.
  void follow(int first) {
    double time = 0;
    int last = first;
    for (int index = first; index >= 0; index = at(index).next) {
      head_[static_cast<std::size_t>(index)] = time;
      time += least(index).forward + at(index).send_activation;
      last = index;
    }
    for (int index = last; index >= 0; index = at(index).previous) {
      gradient_[static_cast<std::size_t>(index)] = time;
      time += least(index).gradient + at(index).send_gradient;
    }
    // From the start of an I to the end of the last cell that follows from it.
    double way = 0;
    for (int index = first; index >= 0; index = at(index).next) {
      const auto own = static_cast<std::size_t>(index);
      way = index == first ? least(index).backward
                           : std::max(least(index).backward,
                                      least(index).gradient + at(index).send_gradient + way);
      way_out_[own] = way;
    }
  }

  // What a pair of these chunks saves.
  double saving(int rank, std::size_t forward, std::size_t backward) const {
    const auto own = static_cast<std::size_t>(rank);
    const auto& slots = problem_.of_rank[own];
    const Slot &first = at(slots[forward]), &second = at(slots[backward]);
    const CompactPair& pair = problem_.pair(own, forward, backward);
    return std::max({0.0, first.F + full_backward(second) - pair.length,
                     first.F + full_backward(second) - second.W - pair.input_length});
  }

  // Of two chunks the dual of their assignment, the prices of forwards as high as they can be; of
  // more, each forward is priced at its best pair.
  Savings savings(int rank) const {
    const std::size_t chunks = problem_.of_rank[static_cast<std::size_t>(rank)].size();
    Savings prices{std::vector(chunks, 0.0), std::vector(chunks, 0.0)};
    const auto s = [&](std::size_t forward, std::size_t backward) {
      return saving(rank, forward, backward);
    };
    if (chunks == 2) {
      // Which backward goes with forward 0 where both have as many.
      const std::size_t with = s(0, 0) + s(1, 1) >= s(0, 1) + s(1, 0) ? 0 : 1;
      prices.backward[with] = std::max(0.0, s(1, with) - s(1, 1 - with));
      prices.backward[1 - with] = std::max(0.0, s(0, 1 - with) - s(0, with));
      prices.forward[0] = s(0, with) - prices.backward[with];
      prices.forward[1] = s(1, 1 - with) - prices.backward[1 - with];
      return prices;
    }
    for (std::size_t forward = 0; forward < chunks; ++forward) {
      for (std::size_t backward = 0; backward < chunks; ++backward)
        prices.forward[forward] = std::max(prices.forward[forward], s(forward, backward));
    }
    return prices;
  }

  OfRank gather(int rank) const {
    OfRank of;
    of.savings = savings(rank);
    double needs = 0;
    const auto& slots = problem_.of_rank[static_cast<std::size_t>(rank)];
    for (std::size_t chunk = 0; chunk < slots.size(); ++chunk) {
      const int index = slots[chunk];
      const Slot& slot = at(index);
      if (slot.microbatches == 0) continue;
      const auto own = static_cast<std::size_t>(index);
      of.head = std::min(of.head, head_[own]);
      of.gradient = std::min(of.gradient, gradient_[own]);
      needs = std::max(needs, slot.needs_gradient);
      const double to_gradient = gradient_[own] - head_[own] - least(index).forward;
      of.to_gradient = std::min(of.to_gradient, to_gradient);
      of.rest = std::min(of.rest, to_gradient + way_out_[own]);
      of.work += slot.microbatches * (slot.F + full_backward(slot) - of.savings.forward[chunk] -
                                      of.savings.backward[chunk]);
      const double residency =
          slot.microbatches * (least(index).forward + to_gradient + least(index).backward);
      of.residency += residency;
      of.byte_residency += residency * least_bytes(rank, static_cast<std::uint8_t>(chunk));
      of.backward = std::max(of.backward, slot.I + slot.W);
      of.drain = std::min(
          of.drain, slot.previous < 0
                        ? 0
                        : slot.send_gradient + way_out_[static_cast<std::size_t>(slot.previous)]);
      of.weight = std::max({of.weight, slot.W, slot.B - slot.gradient_ready});
      // What may be left of a pair when its forward's output is out.
      for (std::size_t other = 0; other < slots.size(); ++other) {
        const CompactPair& pair = problem_.pair(static_cast<std::size_t>(rank), chunk, other);
        needs = std::max(needs, pair.needs_gradient);
        if (pair.forward_ready >= 0)
          of.backward = std::max(of.backward, pair.length - pair.forward_ready);
      }
      of.forwards += slot.microbatches;
    }
    of.gradient -= needs;
    return of;
  }

  // From F to W, whether the input gradient has been or not.
  double least_bytes(int rank, std::uint8_t chunk) const {
    if (problem_.bytes.empty()) return 0;
    const auto own = static_cast<std::size_t>(rank);
    return std::min(problem_.bytes_of(own, {CellKind::kF, chunk, chunk}).kept,
                    -problem_.bytes_of(own, {CellKind::kW, chunk, chunk}).kept);
  }

  // How many activations of chunk 1 fit beside so many of chunk 0; negative: not even those.
  int most_beside(int rank, int of_first) const {
    const auto own = static_cast<std::size_t>(rank);
    const int most = problem_.limits[own] - of_first;
    if (problem_.bytes.empty()) return most;
    const double left = problem_.byte_limits[own] * (1 + 1e-9) -
                        of_first * problem_.bytes_of(own, {CellKind::kF, 0, 0}).kept;
    const double each = problem_.bytes_of(own, {CellKind::kF, 1, 1}).kept;
    if (left < 0) return -1;
    return each * most <= left ? most : static_cast<int>(std::floor(left / each));
  }

  // Before the first gradient can be there, k forwards at the most, alone. The others may be in
  // pairs.
  double warm_up(int rank, const OfRank& of) const {
    const auto& slots = problem_.of_rank[static_cast<std::size_t>(rank)];
    const int most = std::min(problem_.limits[static_cast<std::size_t>(rank)], of.forwards);
    double best = kNever;
    const auto consider = [&](double forwards, double lost_savings) {
      // Work that is left when the first gradient can be there.
      const double busy_until = std::max(of.gradient, of.head + forwards);
      best = std::min(best, busy_until + of.work - forwards + lost_savings);
    };
    if (slots.size() == 2) {
      const Slot &a = at(slots[0]), &b = at(slots[1]);
      const double save_a = of.savings.forward[0], save_b = of.savings.forward[1];
      for (int of_a = 0; of_a <= std::min(most, a.microbatches); ++of_a) {
        const int most_b = std::min(most_beside(rank, of_a), b.microbatches);
        if (most_b < 0) break;
        // Convex in the number of the other chunk's: at an end, or where the wait turns to work.
        const double turn = b.F > 0 ? (of.gradient - of.head - of_a * a.F) / b.F : 0;
        const int near = static_cast<int>(std::floor(std::clamp(turn, 0.0, most_b + 0.0)));
        for (const int of_b : {0, near, std::min(near + 1, most_b), most_b})
          consider(of_a * a.F + of_b * b.F, of_a * save_a + of_b * save_b);
      }
      return best;
    }
    // With more chunks each count is taken at its best for the bound's enemy.
    double shortest = kNever, gain = 0;
    for (std::size_t chunk = 0; chunk < slots.size(); ++chunk) {
      const double F = at(slots[chunk]).F;
      shortest = std::min(shortest, F);
      gain = std::max(gain, F - of.savings.forward[chunk]);
    }
    for (int count = 0; count <= most; ++count) {
      const double busy_until = std::max(of.gradient, of.head + count * shortest);
      best = std::min(best, busy_until + of.work - count * gain);
    }
    return best;
  }

  // After the last gradient of a rank only weight gradients are left to it, of as many activations
  // as it may hold: no pair has it, for the forward there would have a later one.
  double cool_down(int rank, const OfRank& of) const {
    const int limit = problem_.limits[static_cast<std::size_t>(rank)];
    const double drain = std::max(0.0, of.drain - std::min(limit, of.forwards) * of.weight);
    if (of.forwards <= limit) return drain;
    return std::max(
        {drain, of.to_gradient - (limit - 1) * of.backward, of.rest - limit * of.backward});
  }

  const CompactProblem& problem_;
  std::vector<Least> least_;
  std::vector<double> head_, gradient_, way_out_;
};

}  // namespace

std::string_view to_string(Binding binding) {
  switch (binding) {
    case Binding::kHead: return "head";
    case Binding::kWarmUpMemory: return "warm-up memory";
    case Binding::kCoolDownMemory: return "cool-down memory";
    case Binding::kLatency: return "latency";
    case Binding::kWork: return "work";
    case Binding::kExhausted: return "exhaustive search";
  }
  return "?";
}

double gap_between(double makespan, double bound) {
  if (makespan <= 0) return 0;
  return bound > 0 ? std::max(0.0, makespan / bound - 1) : kNever;
}

LowerBound lower_bound(const CompactProblem& problem) {
  return Bounds(problem).best();
}

LowerBound lower_bound_of_rank(const CompactProblem& problem, int rank) {
  return Bounds(problem).of_rank(rank);
}

}  // namespace orrery
