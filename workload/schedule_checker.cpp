#include "workload/schedule_checker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "core/op.hpp"
#include "workload/cell_graph.hpp"

namespace orrery {
namespace {

constexpr std::size_t kMostFaults = 10'000;

// The three pieces of work that a micro-batch needs on each stage.
constexpr std::array kParts = {Pass::kF, Pass::kI, Pass::kW};

std::string_view part_name(Pass part) {
  switch (part) {
    case Pass::kF: return "forward";
    case Pass::kI: return "input gradient";
    case Pass::kW: return "weight gradient";
  }
  return "?";
}

bool does(const Cell& cell, Pass part) {
  switch (part) {
    case Pass::kF: return cell.has_forward();
    case Pass::kI: return cell.has_input_gradient();
    case Pass::kW: return cell.has_weight_gradient();
  }
  return false;
}

class Checker {
 public:
  explicit Checker(const Schedule& schedule) : schedule_(schedule) {}

  // `limits`: of each rank; empty: none.
  std::vector<ScheduleFault> run(const std::vector<int>& limits) {
    check_placement();
    if (!faults_.empty()) return finish({});
    check_ranges();
    collect_work();
    check_work();
    // An order fault is a deadlock too, told more plainly.
    if (check_order()) check_deadlock();
    return finish(limits);
  }

 private:
  // Cells that do one part of one micro-batch on one stage.
  struct Key {
    int direction, stage, microbatch;
    auto operator<=>(const Key&) const = default;
  };
  using Work = std::array<std::vector<int>, kParts.size()>;  // by Pass: cells of the stage's rank

  void add(FaultKind kind, Rank rank, int cell, std::string reason) {
    faults_.push_back({rank, cell, kind, std::move(reason)});
  }
  const std::vector<Cell>& cells(Rank rank) const { return schedule_.ranks[rank.index()]; }
  const Cell& cell(Rank rank, int index) const {
    return cells(rank)[static_cast<std::size_t>(index)];
  }
  // "rank 3 cell 7, F 5 (stage 3, direction 0)"
  std::string name(Rank rank, int index) const {
    return fmt::format("rank {} cell {}, {}", rank.value, index,
                       describe(schedule_, rank, cell(rank, index)));
  }

  void check_placement();
  void check_ranges();
  void check_half(Rank rank, int index, std::string_view what, const Half& half);
  void collect_work();
  void check_work();
  bool check_order();
  void check_deadlock();
  std::string tell(std::span<const CellWait> cycle, const CellGraph& graph) const;
  void check_memory(const std::vector<int>& limits);
  std::vector<ScheduleFault> finish(const std::vector<int>& limits);

  const Schedule& schedule_;
  std::map<std::pair<int, int>, Rank> hosts_;  // (direction, stage)
  int stages_ = 0;
  std::map<Key, Work> work_;
  std::vector<ScheduleFault> faults_;
};

void Checker::check_placement() {
  if (schedule_.directions != 1 && schedule_.directions != 2) {
    add(FaultKind::kPlacement, {}, -1,
        fmt::format("{} directions; a schedule has 1 or 2", schedule_.directions));
    return;
  }
  if (schedule_.chunks.size() != schedule_.ranks.size() || schedule_.ranks.empty()) {
    add(FaultKind::kPlacement, {}, -1,
        fmt::format("chunks are given for {} ranks, cells for {}", schedule_.chunks.size(),
                    schedule_.ranks.size()));
    return;
  }
  if (schedule_.microbatches < schedule_.directions) {
    add(FaultKind::kPlacement, {}, -1,
        fmt::format("{} micro-batches for {} direction(s)", schedule_.microbatches,
                    schedule_.directions));
    return;
  }
  int chunks = 0;
  for (Rank rank{0}; rank.value < schedule_.pp(); ++rank.value) {
    const std::size_t own = schedule_.chunks[rank.index()].size();
    if (own == 0 || own > kMostChunks) {
      add(FaultKind::kPlacement, rank, -1,
          fmt::format("rank {} hosts {} stages; each has 1 to {}", rank.value, own, kMostChunks));
    }
    for (const ChunkPlace& place : schedule_.chunks[rank.index()]) {
      ++chunks;
      if (place.direction < 0 || place.direction >= schedule_.directions || !place.stage.valid()) {
        add(FaultKind::kPlacement, rank, -1,
            fmt::format("rank {} hosts stage {} of direction {}, which does not exist", rank.value,
                        place.stage.value, place.direction));
        continue;
      }
      const auto [host, added] = hosts_.try_emplace({place.direction, place.stage.value}, rank);
      if (!added) {
        add(FaultKind::kPlacement, rank, -1,
            fmt::format("rank {} hosts stage {} of direction {}, which rank {} hosts already",
                        rank.value, place.stage.value, place.direction, host->second.value));
      }
    }
  }
  // As many chunks as stages and each stage once: the stages are those below chunks / directions.
  stages_ = chunks / schedule_.directions;
  for (int direction = 0; direction < schedule_.directions; ++direction) {
    for (int stage = 0; stage < stages_; ++stage) {
      if (hosts_.contains({direction, stage})) continue;
      add(FaultKind::kPlacement, {}, -1,
          fmt::format("no rank hosts stage {} of direction {} ({} chunks for {} direction(s))",
                      stage, direction, chunks, schedule_.directions));
    }
  }
  if (faults_.empty() && chunks % schedule_.directions != 0) {
    add(FaultKind::kPlacement, {}, -1,
        fmt::format("{} chunks cannot hold as many stages in each of 2 directions", chunks));
  }
}

void Checker::check_half(Rank rank, int index, std::string_view what, const Half& half) {
  if (resolve(schedule_, rank, half)) return;
  const auto& chunks = schedule_.chunks[rank.index()];
  const std::string where =
      fmt::format("rank {} cell {}, {} of micro-batch {} on chunk {}", rank.value, index, what,
                  half.microbatch.value, half.chunk.value);
  if (!half.chunk.valid() || half.chunk.index() >= chunks.size()) {
    add(FaultKind::kOutOfRange, rank, index,
        fmt::format("{}: the rank has {} chunk(s)", where, chunks.size()));
  } else if (!half.microbatch.valid() || half.microbatch.value >= schedule_.microbatches) {
    add(FaultKind::kOutOfRange, rank, index,
        fmt::format("{}: there are {} micro-batches", where, schedule_.microbatches));
  } else {
    const int direction = chunks[half.chunk.index()].direction;
    add(FaultKind::kWrongDirection, rank, index,
        fmt::format(
            "{}: the micro-batch travels direction {}, the chunk is stage {} of direction {}",
            where, 1 - direction, chunks[half.chunk.index()].stage.value, direction));
  }
}

void Checker::check_ranges() {
  for (Rank rank{0}; rank.value < schedule_.pp(); ++rank.value) {
    for (int index = 0; index < static_cast<int>(cells(rank).size()); ++index) {
      const Cell& cell_at = cell(rank, index);
      if (cell_at.has_forward()) check_half(rank, index, "forward", cell_at.forward);
      if (cell_at.kind != CellKind::kF) check_half(rank, index, "backward", cell_at.backward);
    }
  }
}

void Checker::collect_work() {
  for (Rank rank{0}; rank.value < schedule_.pp(); ++rank.value) {
    for (int index = 0; index < static_cast<int>(cells(rank).size()); ++index) {
      const Cell& cell_at = cell(rank, index);
      for (const Pass part : kParts) {
        if (!does(cell_at, part)) continue;
        const Half& half = part == Pass::kF ? cell_at.forward : cell_at.backward;
        const auto place = resolve(schedule_, rank, half);
        if (!place) continue;
        const Key key{place->direction, place->stage.value, half.microbatch.value};
        work_[key][static_cast<std::size_t>(part)].push_back(index);
      }
    }
  }
}

void Checker::check_work() {
  for (int direction = 0; direction < schedule_.directions; ++direction) {
    const Schedule::Range range = schedule_.microbatches_of(direction);
    for (int stage = 0; stage < stages_; ++stage) {
      const Rank rank = hosts_.at({direction, stage});
      for (int microbatch = range.first; microbatch < range.last; ++microbatch) {
        // Enough to tell what is wrong with a file; all of millions would not fit.
        if (faults_.size() >= kMostFaults) return;
        static const Work kNone;
        const auto known = work_.find({direction, stage, microbatch});
        const Work& work = known == work_.end() ? kNone : known->second;
        for (const Pass part : kParts) {
          const std::vector<int>& found = work[static_cast<std::size_t>(part)];
          if (found.empty()) {
            add(FaultKind::kMissing, rank, -1,
                fmt::format("rank {}: micro-batch {} has no {} on stage {} of direction {}",
                            rank.value, microbatch, part_name(part), stage, direction));
          }
          for (std::size_t copy = 1; copy < found.size(); ++copy) {
            add(FaultKind::kDuplicate, rank, found[copy],
                fmt::format("{}: micro-batch {} already has its {} in cell {}",
                            name(rank, found[copy]), microbatch, part_name(part), found.front()));
          }
        }
      }
    }
  }
}

bool Checker::check_order() {
  bool in_order = true;
  for (const auto& [key, work] : work_) {
    const auto& [direction, stage, microbatch] = key;
    const Rank rank = hosts_.at({direction, stage});
    const auto require = [&](Pass first, Pass second, bool may_share) {
      const std::vector<int>& before = work[static_cast<std::size_t>(first)];
      const std::vector<int>& after = work[static_cast<std::size_t>(second)];
      if (before.empty() || after.empty()) return;
      const int gap = after.front() - before.front();
      if (gap > 0 || (gap == 0 && may_share)) return;
      in_order = false;
      add(FaultKind::kOrder, rank, after.front(),
          fmt::format("{}: the {} of micro-batch {} comes {} its {} (cell {})",
                      name(rank, after.front()), part_name(second), microbatch,
                      gap == 0 ? "in the same cell as" : "before", part_name(first),
                      before.front()));
    };
    require(Pass::kF, Pass::kI, false);
    require(Pass::kI, Pass::kW, true);  // both in a B or an F&B
  }
  return in_order;
}

void Checker::check_deadlock() {
  const CellGraph graph(schedule_);
  if (!graph.deadlocks()) return;
  std::vector<CellWait> cycle = graph.short_cycle();
  // The story starts at the cell that the last data wait of the cycle holds up.
  const auto told = std::find_if(cycle.begin(), cycle.end(), [](const CellWait& wait) {
    return wait.kind != WaitKind::kRankOrder;
  });
  std::rotate(cycle.begin(), told + 1, cycle.end());
  const CellPosition first = graph.position(cycle.back().after);
  add(FaultKind::kDeadlock, first.rank, first.cell, tell(cycle, graph));
}

// The cycle backwards, from effect to cause: "deadlock: F 2 of rank 1 (cell 0) waits for F 2 of
// rank 0 (cell 3), which comes after B 0 of rank 0 (cell 2), which waits for ...". A run of
// list-order waits is one "comes after".
std::string Checker::tell(std::span<const CellWait> cycle, const CellGraph& graph) const {
  const auto cell_name = [&](int vertex) {
    const CellPosition at = graph.position(vertex);
    return fmt::format("{} of rank {} (cell {})",
                       describe(schedule_, at.rank, cell(at.rank, at.cell)), at.rank.value,
                       at.cell);
  };
  std::string text = fmt::format("deadlock: {}", cell_name(cycle.back().after));
  const char* link = " ";
  for (std::size_t left = cycle.size(); left > 0;) {
    const bool listed = cycle[left - 1].kind == WaitKind::kRankOrder;
    do {
      --left;
    } while (listed && left > 0 && cycle[left - 1].kind == WaitKind::kRankOrder);
    text += fmt::format("{}{} {}", link, listed ? "comes after" : "waits for",
                        cell_name(cycle[left].before));
    link = ", which ";
  }
  return text;
}

void Checker::check_memory(const std::vector<int>& limits) {
  for (Rank rank{0}; rank.value < schedule_.pp(); ++rank.value) {
    const int activation_limit = limits[rank.index()];
    int live = 0;
    for (int index = 0; index < static_cast<int>(cells(rank).size()); ++index) {
      const Cell& cell_at = cell(rank, index);
      if (cell_at.has_forward() && ++live > activation_limit) {
        add(FaultKind::kMemory, rank, index,
            fmt::format("{}: its forward needs activation {} of a limit of {}", name(rank, index),
                        live, activation_limit));
        break;
      }
      if (cell_at.has_weight_gradient()) --live;
    }
  }
}

std::vector<ScheduleFault> Checker::finish(const std::vector<int>& limits) {
  // Counting what is alive makes sense only where all that is allocated is freed, once and in
  // order.
  if (!limits.empty() && faults_.empty()) check_memory(limits);
  std::stable_sort(faults_.begin(), faults_.end(), [](const auto& a, const auto& b) {
    return std::tie(a.kind, a.rank, a.cell) < std::tie(b.kind, b.rank, b.cell);
  });
  return std::move(faults_);
}

}  // namespace

std::vector<ScheduleFault> check_schedule(const Schedule& schedule) {
  return Checker(schedule).run({});
}

std::vector<ScheduleFault> check_schedule(const Schedule& schedule, int activation_limit) {
  return Checker(schedule).run(std::vector(schedule.ranks.size(), activation_limit));
}

std::vector<ScheduleFault> check_schedule(const Schedule& schedule,
                                          const std::vector<int>& activation_limits) {
  ORRERY_CHECK(activation_limits.size() == schedule.ranks.size(), "{} limits for {} ranks",
               activation_limits.size(), schedule.ranks.size());
  return Checker(schedule).run(activation_limits);
}

std::vector<int> peak_activations(const Schedule& schedule) {
  std::vector<int> peaks;
  for (const auto& cells : schedule.ranks) {
    int live = 0;
    int peak = 0;
    for (const Cell& cell : cells) {
      if (cell.has_forward()) peak = std::max(peak, ++live);
      if (cell.has_weight_gradient()) --live;
    }
    peaks.push_back(peak);
  }
  return peaks;
}

std::string_view to_string(FaultKind kind) {
  switch (kind) {
    case FaultKind::kPlacement: return "placement";
    case FaultKind::kOutOfRange: return "out of range";
    case FaultKind::kWrongDirection: return "wrong direction";
    case FaultKind::kMissing: return "missing";
    case FaultKind::kDuplicate: return "duplicate";
    case FaultKind::kOrder: return "order";
    case FaultKind::kDeadlock: return "deadlock";
    case FaultKind::kMemory: return "memory";
  }
  return "?";
}

}  // namespace orrery
