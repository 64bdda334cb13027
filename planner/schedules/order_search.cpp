#include "planner/schedules/order_search.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "planner/schedules/chance.hpp"
#include "planner/schedules/policy_search.hpp"

namespace orrery {
namespace {

Token mirror_image(Token token) {
  token.forward = static_cast<std::uint8_t>(1 - token.forward);
  token.backward = static_cast<std::uint8_t>(1 - token.backward);
  return token;
}

bool same_times(const Slot& a, const Slot& b) {
  return a.microbatches == b.microbatches && a.F == b.F && a.I == b.I && a.W == b.W && a.B == b.B &&
         a.gradient_ready == b.gradient_ready && a.needs_gradient == b.needs_gradient &&
         a.send_activation == b.send_activation && a.send_gradient == b.send_gradient;
}

bool same_bytes(const CompactProblem& problem, int rank, int other) {
  const auto own = static_cast<std::size_t>(rank), there = static_cast<std::size_t>(other);
  if (problem.byte_limits[own] != problem.byte_limits[there]) return false;
  for (const CellKind kind : {CellKind::kF, CellKind::kI, CellKind::kW}) {
    for (std::uint8_t chunk = 0; chunk < 2; ++chunk) {
      const Token token{kind, chunk, chunk};
      const TokenBytes& a = problem.bytes_of(own, token);
      const TokenBytes& b = problem.bytes_of(there, mirror_image(token));
      if (a.peak != b.peak || a.kept != b.kept) return false;
    }
  }
  return true;
}

bool acts_alike(const Token& a, const Token& b) {
  return a.kind == b.kind && (!a.has_forward() || a.forward == b.forward) &&
         (a.kind == CellKind::kF || a.backward == b.backward);
}

}  // namespace

CompactOrder split_backwards(const CompactProblem& problem, const CompactOrder& order) {
  CompactOrder split;
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    auto& own = split.emplace_back();
    for (const Token& token : order[rank]) {
      if (token.kind != CellKind::kB ||
          problem.backward_helps(problem.slot(static_cast<int>(rank), token.backward))) {
        own.push_back(token);
        continue;
      }
      own.push_back({CellKind::kI, token.backward, token.backward});
      own.push_back({CellKind::kW, token.backward, token.backward});
    }
  }
  return split;
}

bool is_mirrored(const CompactProblem& problem, const CompactOrder& order) {
  const int ranks = problem.ranks();
  if (ranks < 2 || ranks % 2 != 0) return false;
  for (int rank = 0; rank < ranks; ++rank) {
    const int other = ranks - 1 - rank;
    const auto& own = order[static_cast<std::size_t>(rank)];
    const auto& image = order[static_cast<std::size_t>(other)];
    if (problem.of_rank[static_cast<std::size_t>(rank)].size() != 2 || own.size() != image.size() ||
        problem.limits[static_cast<std::size_t>(rank)] !=
            problem.limits[static_cast<std::size_t>(other)])
      return false;
    if (!problem.bytes.empty() && !same_bytes(problem, rank, other)) return false;
    for (int chunk = 0; chunk < 2; ++chunk) {
      // A stream that turns on itself has no mirror image: it has one entry.
      const Slot& slot = problem.slot(rank, chunk);
      const Slot& there = problem.slot(other, 1 - chunk);
      for (int partner = 0; partner < 2; ++partner) {
        const auto pair = [&](int of, int forward, int backward) -> const CompactPair& {
          return problem.pair(static_cast<std::size_t>(of), static_cast<std::size_t>(forward),
                              static_cast<std::size_t>(backward));
        };
        if (pair(rank, chunk, partner) != pair(other, 1 - chunk, 1 - partner)) return false;
      }
      if (!same_times(slot, there) || (slot.previous < 0) != (there.previous < 0)) return false;
    }
    for (std::size_t index = 0; index < own.size(); ++index) {
      if (!acts_alike(mirror_image(own[index]), image[index])) return false;
    }
  }
  return true;
}

OrderSearch::OrderSearch(const CompactProblem& problem, CompactOrder start, std::uint64_t seed)
    : problem_(problem),
      timer_(problem),
      random_(seed),
      unit_(mean_cell(problem)),
      current_(split_backwards(problem, start)) {
  mirrored_ = is_mirrored(problem_, current_);
  best_ = std::move(start);
  best_makespan_ = timer_.makespan(best_);
  current_makespan_ = timer_.makespan(current_);
  ORRERY_CHECK(current_makespan_ < CompactTimer::kDeadlock, "the order to start from deadlocks");
  current_cost_ = search_cost(current_makespan_, timer_.ends());
  if (current_makespan_ <= best_makespan_) {
    best_makespan_ = current_makespan_;
    best_ = current_;
  }
  find_critical_path();
}

void OrderSearch::find_critical_path() {
  timer_.critical_path(current_, critical_);
  since_critical_ = 0;
}

bool OrderSearch::move(int token) {
  const int size = static_cast<int>(changed_.size());
  const int by = whole_of(random_, 0, 2) == 0 ? whole_of(random_, 1, 12) : whole_of(random_, 1, 3);
  const int to = whole_of(random_, 0, 1) == 1 ? token + by : token - by;
  if (to < 0 || to >= size) return false;
  const Token moved = changed_[static_cast<std::size_t>(token)];
  if (acts_alike(moved, changed_[static_cast<std::size_t>(to)])) return false;
  changed_.erase(changed_.begin() + token);
  changed_.insert(changed_.begin() + to, moved);
  return true;
}

bool OrderSearch::take_apart(int token) {
  const Token pair = changed_[static_cast<std::size_t>(token)];
  if (pair.kind == CellKind::kB) {
    changed_[static_cast<std::size_t>(token)].kind = CellKind::kI;
    changed_.insert(changed_.begin() + token + 1, {CellKind::kW, pair.backward, pair.backward});
    return true;
  }
  if (pair.kind != CellKind::kFB && pair.kind != CellKind::kFI) return false;
  const Token F{CellKind::kF, pair.forward, pair.forward};
  const Token I{CellKind::kI, pair.backward, pair.backward};
  const Token W{CellKind::kW, pair.backward, pair.backward};
  changed_.erase(changed_.begin() + token);
  const auto at = changed_.begin() + token;
  if (pair.kind == CellKind::kFI) {
    if (whole_of(random_, 0, 1) == 0) {
      changed_.insert(at, {F, I});
    } else {
      changed_.insert(at, {I, F});
    }
    return true;
  }
  const int which = whole_of(random_, 0, 2);
  if (which == 0) {
    changed_.insert(at, {F, I, W});
  } else if (which == 1) {
    changed_.insert(at, {I, F, W});
  } else {
    changed_.insert(at, {I, W, F});
  }
  return true;
}

// An input gradient and a weight gradient of its chunk soon after it.
bool OrderSearch::join_backward(int rank, int token) {
  constexpr int kNear = 6;
  const Token& gradient = changed_[static_cast<std::size_t>(token)];
  if (gradient.kind != CellKind::kI ||
      !problem_.backward_helps(problem_.slot(rank, gradient.backward)))
    return false;
  const int end = std::min(static_cast<int>(changed_.size()), token + kNear);
  for (int index = token + 1; index < end; ++index) {
    Token& weight = changed_[static_cast<std::size_t>(index)];
    if (weight.kind != CellKind::kW || weight.backward != gradient.backward) continue;
    // Where one of the two is.
    const bool early = whole_of(random_, 0, 1) == 1;
    changed_[static_cast<std::size_t>(early ? token : index)].kind = CellKind::kB;
    changed_.erase(changed_.begin() + (early ? index : token));
    return true;
  }
  return false;
}

// A forward and an input gradient near `token`, and its weight gradient, if that is not with it.
bool OrderSearch::put_together(int rank, int token) {
  constexpr int kNear = 4, kWeightNear = 8;
  const int size = static_cast<int>(changed_.size());
  int forward = -1, gradient = -1, weight = -1;
  for (int index = std::max(0, token - kNear); index <= std::min(size - 1, token + kNear);
       ++index) {
    const CellKind kind = changed_[static_cast<std::size_t>(index)].kind;
    if (kind == CellKind::kF && forward < 0 && whole_of(random_, 0, 1) == 1) forward = index;
    const bool backward = kind == CellKind::kI || kind == CellKind::kB;
    if (backward && gradient < 0 && whole_of(random_, 0, 1) == 1) gradient = index;
  }
  if (forward < 0 || gradient < 0) return false;
  const std::uint8_t chunk = changed_[static_cast<std::size_t>(gradient)].backward;
  const bool whole = changed_[static_cast<std::size_t>(gradient)].kind == CellKind::kB;
  for (int index = gradient + 1; !whole && index < std::min(size, gradient + kWeightNear);
       ++index) {
    const Token& other = changed_[static_cast<std::size_t>(index)];
    if (other.kind == CellKind::kW && other.backward == chunk) {
      weight = index;
      break;
    }
  }
  Token pair{CellKind::kFB, changed_[static_cast<std::size_t>(forward)].forward, chunk};
  const auto own = static_cast<std::size_t>(rank);
  const bool with_weight =
      (weight >= 0 || whole) && problem_.pair_helps(own, pair.forward, pair.backward);
  // The weight gradient stays where it is: seldom where it could come too.
  const bool without = !whole && problem_.input_pair_helps(own, pair.forward, pair.backward);
  if (!with_weight && !without) return false;
  if (without && (!with_weight || whole_of(random_, 0, 3) == 0)) {
    pair.kind = CellKind::kFI;
    weight = -1;
  }
  int to =
      whole_of(random_, 0, 1) == 1 ? std::max(forward, gradient) - 1 : std::min(forward, gradient);
  int out[] = {forward, gradient, weight};
  std::sort(std::begin(out), std::end(out));
  for (int index = 2; index >= 0; --index) {
    if (out[index] >= 0) changed_.erase(changed_.begin() + out[index]);
  }
  to = std::clamp(to, 0, static_cast<int>(changed_.size()));
  changed_.insert(changed_.begin() + to, pair);
  return true;
}

bool OrderSearch::change(int rank, int token) {
  changed_ = current_[static_cast<std::size_t>(rank)];
  const int which = whole_of(random_, 0, 9);
  const bool made = which <= 5   ? move(token)
                    : which <= 7 ? take_apart(token)
                                 : join_backward(rank, token) || put_together(rank, token);
  return made && keeps_limit(problem_, static_cast<std::size_t>(rank), changed_);
}

void OrderSearch::mirror(int rank) {
  std::vector<Token>& image = current_[current_.size() - 1 - static_cast<std::size_t>(rank)];
  image.clear();
  for (const Token& token : current_[static_cast<std::size_t>(rank)])
    image.push_back(mirror_image(token));
}

long OrderSearch::advance(long evaluations, double hot, double halvings, double enough) {
  constexpr int kPathLasts = 20;    // changes kept before it is looked for again
  constexpr double kHopeless = 15;  // temperatures
  constexpr long kTries = 50;       // for each order timed
  const int ranks = problem_.ranks();
  // Most changes drawn cannot be made; where hardly any can, the search ends all the same.
  long tries = 0;
  long number = 0;
  for (; number < evaluations && tries < kTries * evaluations && best_makespan_ > enough; ++tries) {
    const double progress = static_cast<double>(number) / static_cast<double>(evaluations);
    const double temperature = unit_ * hot * power_of_two(-halvings * progress);
    CompactTimer::Place at;
    if (whole_of(random_, 0, 3) > 0 && !critical_.empty()) {
      at = critical_[static_cast<std::size_t>(
          whole_of(random_, 0, static_cast<int>(critical_.size()) - 1))];
    } else {
      at.rank = whole_of(random_, 0, ranks - 1);
      at.token = whole_of(random_, 0,
                          static_cast<int>(current_[static_cast<std::size_t>(at.rank)].size()) - 1);
    }
    auto& tokens = current_[static_cast<std::size_t>(at.rank)];
    if (at.token >= static_cast<int>(tokens.size())) {
      find_critical_path();
      continue;
    }
    if (!change(at.rank, at.token)) continue;
    // changed_ holds the old tokens from here on.
    std::swap(tokens, changed_);
    if (mirrored_) mirror(at.rank);
    ++number;
    const double give_up = current_makespan_ + kHopeless * temperature;
    const double makespan = timer_.makespan(current_, give_up);
    const double cost = makespan < CompactTimer::kDeadlock ? search_cost(makespan, timer_.ends())
                                                           : CompactTimer::kDeadlock;
    if (cost <= current_cost_ || takes_chance(random_, cost - current_cost_, temperature)) {
      ++since_critical_;
      const bool look = cost > current_cost_ || since_critical_ > kPathLasts;
      current_cost_ = cost;
      current_makespan_ = makespan;
      if (makespan < best_makespan_ - 1e-12 * best_makespan_) {
        best_makespan_ = makespan;
        best_ = current_;
      }
      if (look) find_critical_path();
    } else {
      std::swap(tokens, changed_);
      if (mirrored_) mirror(at.rank);
    }
  }
  return number;
}

}  // namespace orrery
