#include "planner/schedules/compact.hpp"

#include <algorithm>
#include <cmath>
#include <deque>

#include "core/error.hpp"

namespace orrery {

int chunk_limit(const Schedule& placement, double shares) {
  // A hair more, so that 2.9999999 shares of a decimal figure are three.
  constexpr double kMost = 1e9;
  return static_cast<int>(
      std::floor(std::min(kMost, shares * chunks_of_direction(placement) + 1e-9)));
}

CompactProblem compact_problem(const Schedule& placement, const CellTimes& times,
                               std::vector<int> limits) {
  CompactProblem problem;
  problem.limits = std::move(limits);
  for (int rank = 0; rank < placement.pp(); ++rank) {
    auto& own = problem.of_rank.emplace_back();
    const auto& chunks = placement.chunks[static_cast<std::size_t>(rank)];
    ORRERY_CHECK(chunks.size() <= kMostChunks, "{} chunks on rank {}", chunks.size(), rank);
    for (const ChunkPlace& place : chunks) {
      own.push_back(static_cast<int>(problem.slots.size()));
      const StageTimes& stage = times.at(place);
      Slot slot;
      slot.rank = rank;
      const Schedule::Range range = placement.microbatches_of(place.direction);
      slot.microbatches = range.last - range.first;
      slot.F = stage.F.value();
      slot.I = stage.I.value();
      slot.W = stage.W.value();
      slot.B = times.backward(place).length.value();
      slot.gradient_ready = times.backward(place).gradient_ready.value();
      slot.needs_gradient = times.backward(place).needs_gradient.value();
      problem.slots.push_back(slot);
      problem.microbatches = std::max(problem.microbatches, slot.microbatches);
    }
    auto& pairs = problem.pairs.emplace_back();
    for (std::size_t forward = 0; forward < chunks.size(); ++forward) {
      for (std::size_t backward = 0; backward < chunks.size(); ++backward) {
        const bool by_rank = !times.rank_pairs.empty();
        const StageTimes& first = times.at(chunks[forward]);
        const Seconds pair =
            by_rank ? times.rank_pairs[static_cast<std::size_t>(rank)][forward][backward]
                    : first.FB;
        CompactPair own_pair;
        own_pair.length = pair.value();
        own_pair.input_length =
            (by_rank ? first.F + times.at(chunks[backward]).I : first.FI).value();
        if (times.has_pair_offsets()) {
          const PairOffsets& offsets =
              times.offsets(Rank{rank}, chunks[forward], ChunkId{static_cast<int>(forward)},
                            ChunkId{static_cast<int>(backward)});
          own_pair.needs_gradient = offsets.needs_gradient.value();
          own_pair.forward_ready = offsets.forward_ready.value();
          own_pair.gradient_ready = offsets.gradient_ready.value();
        }
        pairs.push_back(own_pair);
      }
    }
  }
  for (int rank = 0; rank < placement.pp(); ++rank) {
    const auto& chunks = placement.chunks[static_cast<std::size_t>(rank)];
    for (std::size_t chunk = 0; chunk < chunks.size(); ++chunk) {
      const ChunkPlace place = chunks[chunk];
      Slot& slot = problem.slots[static_cast<std::size_t>(
          problem.of_rank[static_cast<std::size_t>(rank)][chunk])];
      const auto neighbour = [&](int stage) {
        if (stage < 0 || stage >= placement.stages()) return -1;
        const Schedule::Host host = placement.host(Stage{stage}, place.direction);
        return problem.of_rank[host.rank.index()][host.chunk.index()];
      };
      slot.previous = neighbour(place.stage.value - 1);
      slot.next = neighbour(place.stage.value + 1);
      const auto latency = [&](int other, bool gradient) {
        const bool far = other >= 0 && problem.slots[static_cast<std::size_t>(other)].rank != rank;
        return far ? times.latency(place, gradient).value() : 0.0;
      };
      slot.send_activation = latency(slot.next, false);
      slot.send_gradient = latency(slot.previous, true);
    }
  }
  return problem;
}

namespace {

// The micro-batches of a chunk of a rank: which is the next to go forward and back, and which have
// gone back without their weight gradient.
struct ChunkCount {
  int forward = 0, gradient = 0;
  std::deque<int> waiting;
};

std::vector<ChunkCount> chunk_counts(const Schedule& schedule, std::size_t rank) {
  std::vector<ChunkCount> counts;
  for (const ChunkPlace& place : schedule.chunks[rank]) {
    const int first = schedule.microbatches_of(place.direction).first;
    counts.push_back({first, first, {}});
  }
  return counts;
}

}  // namespace

std::optional<CompactOrder> compact_order(const Schedule& schedule) {
  CompactOrder order;
  for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    std::vector<ChunkCount> counts = chunk_counts(schedule, rank);
    auto& tokens = order.emplace_back();
    tokens.reserve(schedule.ranks[rank].size());
    for (const Cell& cell : schedule.ranks[rank]) {
      Token token{cell.kind, 0, 0};
      if (cell.has_forward()) {
        token.forward = static_cast<std::uint8_t>(cell.forward.chunk.value);
        if (counts[token.forward].forward++ != cell.forward.microbatch.value) return std::nullopt;
      }
      if (cell.kind != CellKind::kF) {
        token.backward = static_cast<std::uint8_t>(cell.backward.chunk.value);
        ChunkCount& own = counts[token.backward];
        const int microbatch = cell.backward.microbatch.value;
        if (token.kind == CellKind::kW) {
          if (own.waiting.empty() || own.waiting.front() != microbatch) return std::nullopt;
          own.waiting.pop_front();
        } else {
          if (own.gradient++ != microbatch) return std::nullopt;
          if (!token.has_weight_gradient()) own.waiting.push_back(microbatch);
        }
      }
      tokens.push_back(token);
    }
  }
  return order;
}

Schedule expand_order(const Schedule& placement, const CompactOrder& order) {
  Schedule schedule;
  schedule.family = placement.family;
  schedule.microbatches = placement.microbatches;
  schedule.directions = placement.directions;
  schedule.chunks = placement.chunks;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    std::vector<ChunkCount> counts = chunk_counts(schedule, rank);
    std::vector<Cell>& cells = schedule.ranks.emplace_back();
    cells.reserve(order[rank].size());
    for (const Token& token : order[rank]) {
      Cell cell;
      cell.kind = token.kind;
      if (token.has_forward())
        cell.forward = {Microbatch{counts[token.forward].forward++}, ChunkId{token.forward}};
      if (token.kind != CellKind::kF) {
        ChunkCount& own = counts[token.backward];
        int microbatch = own.gradient;
        if (token.kind == CellKind::kW) {
          ORRERY_CHECK(!own.waiting.empty(), "a weight gradient too many on rank {}", rank);
          microbatch = own.waiting.front();
          own.waiting.pop_front();
        } else {
          ++own.gradient;
          if (!token.has_weight_gradient()) own.waiting.push_back(microbatch);
        }
        cell.backward = {Microbatch{microbatch}, ChunkId{token.backward}};
      }
      cells.push_back(cell);
    }
  }
  return schedule;
}

bool CompactProblem::pair_helps(std::size_t rank, std::size_t forward, std::size_t backward) const {
  const Slot& first = slot(static_cast<int>(rank), static_cast<int>(forward));
  const Slot& second = slot(static_cast<int>(rank), static_cast<int>(backward));
  const double apart = first.F + second.I + second.W;
  return pair(rank, forward, backward).length < apart * (1 - 1e-9);
}

bool CompactProblem::input_pair_helps(std::size_t rank, std::size_t forward,
                                      std::size_t backward) const {
  const Slot& first = slot(static_cast<int>(rank), static_cast<int>(forward));
  const Slot& second = slot(static_cast<int>(rank), static_cast<int>(backward));
  return pair(rank, forward, backward).input_length < (first.F + second.I) * (1 - 1e-9);
}

double mean_cell(const CompactProblem& problem) {
  double sum = 0;
  for (const Slot& slot : problem.slots) sum += slot.F + slot.I + slot.W;
  return sum / static_cast<double>(3 * problem.slots.size());
}

double token_duration(const CompactProblem& problem, int rank, const Token& token) {
  const Slot& slot = problem.slot(rank, token.has_forward() ? token.forward : token.backward);
  switch (token.kind) {
    case CellKind::kF: return slot.F;
    case CellKind::kB: return slot.B;
    case CellKind::kI: return slot.I;
    case CellKind::kW: return slot.W;
    case CellKind::kFB:
      return problem.pair(static_cast<std::size_t>(rank), token.forward, token.backward).length;
    case CellKind::kFI:
      return problem.pair(static_cast<std::size_t>(rank), token.forward, token.backward)
          .input_length;
  }
  return 0;
}

CompactTimer::CompactTimer(const CompactProblem& problem)
    : problem_(problem),
      stride_(static_cast<std::size_t>(problem.microbatches)),
      activation_(problem.slots.size() * stride_),
      gradient_(problem.slots.size() * stride_),
      forwards_(problem.slots.size()),
      gradients_(problem.slots.size()),
      weights_(problem.slots.size()),
      at_(problem.of_rank.size()),
      free_(problem.of_rank.size()) {}

template <bool kTrace>
bool CompactTimer::run(const CompactOrder& order, double give_up) {
  std::fill(forwards_.begin(), forwards_.end(), 0);
  std::fill(gradients_.begin(), gradients_.end(), 0);
  std::fill(weights_.begin(), weights_.end(), 0);
  std::fill(at_.begin(), at_.end(), 0);
  std::fill(free_.begin(), free_.end(), 0.0);
  const std::size_t ranks = order.size();
  if constexpr (kTrace) {
    activation_from_.assign(activation_.size(), {});
    gradient_from_.assign(gradient_.size(), {});
    starts_.resize(ranks);
    before_.resize(ranks);
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      starts_[rank].assign(order[rank].size(), 0.0);
      before_[rank].assign(order[rank].size(), {});
    }
  }
  std::size_t through = 0;
  for (bool progress = true; progress && through < ranks;) {
    progress = false;
    through = 0;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      const std::vector<Token>& tokens = order[rank];
      const std::vector<int>& slots = problem_.of_rank[rank];
      std::size_t at = at_[rank];
      double now = free_[rank];
      for (; at < tokens.size(); ++at) {
        const Token token = tokens[at];
        const auto forward = static_cast<std::size_t>(slots[token.forward]);
        const auto backward = static_cast<std::size_t>(slots[token.backward]);
        const Slot& of_forward = problem_.slots[forward];
        const Slot& of_backward = problem_.slots[backward];
        double start = now;
        Place waited{static_cast<int>(rank), static_cast<int>(at) - 1};
        if (token.has_forward() && of_forward.previous >= 0) {
          const auto from = static_cast<std::size_t>(of_forward.previous);
          const auto number = static_cast<std::size_t>(forwards_[forward]);
          if (static_cast<std::size_t>(forwards_[from]) <= number) break;
          const double ready = activation_[from * stride_ + number];
          if constexpr (kTrace) {
            if (ready >= start && ready > 0) waited = activation_from_[from * stride_ + number];
          }
          start = std::max(start, ready);
        }
        if (token.has_input_gradient()) {
          const int number = gradients_[backward];
          if (number >= forwards_[backward]) break;
          if (of_backward.next >= 0) {
            const auto from = static_cast<std::size_t>(of_backward.next);
            if (gradients_[from] <= number) break;
            const double needed =
                token.has_forward()
                    ? problem_.pair(rank, token.forward, token.backward).needs_gradient
                    : of_backward.needs_gradient;
            const double ready =
                gradient_[from * stride_ + static_cast<std::size_t>(number)] - needed;
            if constexpr (kTrace) {
              if (ready >= start && ready > 0)
                waited = gradient_from_[from * stride_ + static_cast<std::size_t>(number)];
            }
            start = std::max(start, ready);
          }
        } else if (token.kind == CellKind::kW && weights_[backward] >= gradients_[backward]) {
          break;
        }
        if constexpr (kTrace) {
          starts_[rank][at] = start;
          before_[rank][at] = waited;
        }
        double forward_at = 0, gradient_at = 0;
        switch (token.kind) {
          case CellKind::kF: now = forward_at = start + of_forward.F; break;
          case CellKind::kI: now = gradient_at = start + of_backward.I; break;
          case CellKind::kW: now = start + of_backward.W; break;
          case CellKind::kB:
            now = start + of_backward.B;
            gradient_at = start + of_backward.gradient_ready;
            break;
          case CellKind::kFB:
          case CellKind::kFI: {
            const CompactPair& pair = problem_.pair(rank, token.forward, token.backward);
            now = start + (token.kind == CellKind::kFB ? pair.length : pair.input_length);
            forward_at = pair.forward_at(start, now);
            gradient_at = pair.gradient_at(start, now);
            break;
          }
        }
        if (token.has_forward()) {
          const std::size_t index =
              forward * stride_ + static_cast<std::size_t>(forwards_[forward]++);
          activation_[index] = forward_at + of_forward.send_activation;
          if constexpr (kTrace)
            activation_from_[index] = {static_cast<int>(rank), static_cast<int>(at)};
        }
        if (token.has_input_gradient()) {
          const std::size_t index =
              backward * stride_ + static_cast<std::size_t>(gradients_[backward]++);
          gradient_[index] = gradient_at + of_backward.send_gradient;
          if constexpr (kTrace)
            gradient_from_[index] = {static_cast<int>(rank), static_cast<int>(at)};
        }
        if (token.has_weight_gradient()) ++weights_[backward];
        progress = true;
      }
      at_[rank] = at;
      free_[rank] = now;
      if (now > give_up) return false;
      through += at == tokens.size();
    }
  }
  return through == ranks;
}

double CompactTimer::makespan(const CompactOrder& order, double give_up) {
  if (!run<false>(order, give_up)) return kDeadlock;
  return *std::max_element(free_.begin(), free_.end());
}

void CompactTimer::critical_path(const CompactOrder& order, std::vector<Place>& path) {
  path.clear();
  if (!run<true>(order, kDeadlock)) return;
  const auto last = std::max_element(free_.begin(), free_.end());
  const int rank = static_cast<int>(last - free_.begin());
  Place place{rank, static_cast<int>(order[static_cast<std::size_t>(rank)].size()) - 1};
  while (place.token >= 0) {
    path.push_back(place);
    place = before_[static_cast<std::size_t>(place.rank)][static_cast<std::size_t>(place.token)];
  }
}

}  // namespace orrery
