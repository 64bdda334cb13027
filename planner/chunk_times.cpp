#include "planner/chunk_times.hpp"

#include <algorithm>
#include <limits>

#include "planner/step_summary.hpp"
#include "sim/analytic.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

Half half(int microbatch, int chunk) {
  return {Microbatch{microbatch}, ChunkId{chunk}};
}
Cell cell(CellKind kind, int microbatch, int chunk) {
  return kind == CellKind::kF ? forward_cell(Microbatch{microbatch}, ChunkId{chunk})
                              : backward_cell(kind, Microbatch{microbatch}, ChunkId{chunk});
}

Schedule on_one_rank(int chunks, int microbatches, std::vector<Cell> cells) {
  Schedule schedule;
  schedule.microbatches = microbatches;
  auto& own = schedule.chunks.emplace_back();
  for (int chunk = 0; chunk < chunks; ++chunk) own.push_back({Stage{chunk}, 0});
  schedule.ranks = {std::move(cells)};
  return schedule;
}

// Every kind of cell of a chunk.
enum SingleCell : std::size_t { kF, kI, kW, kNextF, kB };
Schedule single_cells() {
  return on_one_rank(1, 2,
                     {cell(CellKind::kF, 0, 0), cell(CellKind::kI, 0, 0), cell(CellKind::kW, 0, 0),
                      cell(CellKind::kF, 1, 0), cell(CellKind::kB, 1, 0)});
}

// A forward and a backward of a chunk, and of two chunks both ways; what would follow is left out.
Schedule paired_with_itself() {
  return on_one_rank(1, 2, {cell(CellKind::kF, 0, 0), pair_cell(half(1, 0), half(0, 0))});
}
Schedule paired_with_other() {
  return on_one_rank(2, 2,
                     {cell(CellKind::kF, 0, 0), cell(CellKind::kF, 0, 1),
                      pair_cell(half(1, 0), half(0, 1)), pair_cell(half(1, 1), half(0, 0))});
}

// Inside a cell: the end of its forward's work, of its input gradient's, and the start of the
// latter.
PairOffsets offsets_of(const Program& program, const Timeline& timeline, int cell, Seconds start) {
  double forward = 0, gradient = 0, needs = kNever;
  for (const Stream stream : {Stream::kCompute, Stream::kComm}) {
    for (const InstructionId id : program.streams.front()[static_cast<std::size_t>(stream)]) {
      const Instruction& instruction = program.instructions[id.index()];
      if (instruction.cell != cell) continue;
      const Span& span = timeline.at(id);
      const Pass pass = program.work(instruction).pass;
      // Recomputed forwards belong to the backward and come before its gradient is needed.
      if (pass == Pass::kF) forward = std::max(forward, span.end.value());
      if (pass == Pass::kI) {
        gradient = std::max(gradient, span.end.value());
        needs = std::min(needs, span.start.value());
      }
    }
  }
  return {Seconds{needs} - start, Seconds{forward} - start, Seconds{gradient} - start};
}

Program without_instructions(const UnitSet& set, const ZeroWorks& zero) {
  Program program;
  program.works = set.works;
  program.works.insert(program.works.end(), zero.works.begin(), zero.works.end());
  return program;
}

}  // namespace

WorkTimes::WorkTimes(std::span<const Work> works, const CostSource& costs, int comm_sms)
    : works_(works), costs_(costs), comm_sms_(comm_sms), known_(works.size(), {-1, -1}) {}

Seconds WorkTimes::operator()(WorkId id, bool overlapped) {
  double& known = known_[id.index()][overlapped ? 1 : 0];
  if (known < 0) {
    const Work& work = works_[id.index()];
    const int lent = overlapped ? comm_sms_ : 0;
    known = (work.is_compute() ? costs_.compute(work, lent).total()
                               : uncontended(work.wire, costs_.transfer(work, overlapped, lent)))
                .value();
  }
  return Seconds{known};
}

// One small plan and its program, used again and again.
struct ChunkTimer::Scratch {
  Scratch(const Plan& like, const UnitSet& of, ZeroWorks of_zero, const CostSource& costs)
      : plan(like),
        set(of),
        zero(std::move(of_zero)),
        program(without_instructions(of, zero)),
        times(program.works, costs, like.layout.comm_sms) {
    plan.layout.pp = 1;
  }
  Seconds of(const Instruction& instruction) {
    return times(instruction.work, instruction.overlapped);
  }
  void run(std::vector<Layers> stages, Schedule schedule) {
    plan.layout.stage_map = std::move(stages);
    plan.schedule = std::move(schedule);
    lower_cells(plan, set, zero, program);
    timeline = run_analytic(
        program, [this](const Instruction& instruction) { return of(instruction); }, 1);
    spans = cell_spans(program, timeline, Rank{0}, plan.schedule.ranks.front().size());
  }
  PairOffsets offsets(std::size_t cell) const {
    return offsets_of(program, timeline, static_cast<int>(cell), spans[cell].start);
  }

  Plan plan;
  const UnitSet& set;
  ZeroWorks zero;
  Program program;
  WorkTimes times;
  Timeline timeline;
  std::vector<Span> spans;  // by cell
};

ChunkTimer::ChunkTimer(const Plan& plan, std::shared_ptr<const UnitSet> set, ZeroWorks zero,
                       const CostSource& costs)
    : set_(std::move(set)),
      scratch_(std::make_unique<Scratch>(plan, *set_, std::move(zero), costs)) {}

ChunkTimer::~ChunkTimer() = default;

const ChunkTimes& ChunkTimer::chunk(const Layers& layers) {
  const auto [entry, is_new] = chunks_.try_emplace(layers);
  ChunkTimes& times = entry->second;
  if (!is_new) return times;
  static const Schedule cells = single_cells();
  scratch_->run({layers}, cells);
  const auto length = [&](std::size_t cell) { return scratch_->spans[cell].length(); };
  times.F = length(kF);
  times.I = length(kI);
  times.W = length(kW);
  const PairOffsets offsets = scratch_->offsets(kB);
  times.B = {length(kB), offsets.gradient_ready, offsets.needs_gradient};
  return times;
}

const PairTimes& ChunkTimer::pair(const Layers& forward, const Layers& backward) {
  const std::pair<Layers, Layers> key(forward, backward);
  const auto known = pairs_.find(key);
  if (known != pairs_.end()) return known->second;
  time_pairs(forward, backward);
  return pairs_.at(key);
}

void ChunkTimer::time_pairs(const Layers& first, const Layers& second) {
  static const Schedule itself = paired_with_itself(), other = paired_with_other();
  const bool alike = first == second;
  const Schedule& cells = alike ? itself : other;
  const std::array<const Layers*, 2> layers = {&first, &second};
  std::vector<Layers> stages = {first};
  if (!alike) stages.push_back(second);
  scratch_->run(std::move(stages), cells);
  for (std::size_t index = 0; index < cells.ranks.front().size(); ++index) {
    const Cell& cell = cells.ranks.front()[index];
    if (cell.kind != CellKind::kFB) continue;
    const PairTimes times{scratch_->spans[index].length(), scratch_->offsets(index)};
    pairs_.insert_or_assign(
        {*layers[cell.forward.chunk.index()], *layers[cell.backward.chunk.index()]}, times);
  }
}

Seconds ChunkTimer::send(bool inside_node) {
  return scratch_->times(inside_node ? set_->send_inside_node : set_->send_between_nodes, false);
}

CellTimes cell_times(const Schedule& schedule, const StageMap& map, const Placement& placement,
                     bool pairs, ChunkTimer& timer) {
  CellTimes times = uniform_times(schedule, {});
  for (auto& stages : times.stages) {
    auto& backwards = times.backwards.emplace_back();
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
      const ChunkTimes& chunk = timer.chunk(map[stage]);
      stages[stage] = without_overlap(chunk.F, chunk.I, chunk.W);
      backwards.push_back(chunk.B);
    }
  }
  for (const auto& chunks : schedule.chunks) {
    auto& rows = times.rank_pairs.emplace_back();
    auto* const offsets = pairs ? &times.rank_offsets.emplace_back() : nullptr;
    for (const ChunkPlace& forward : chunks) {
      auto& row = rows.emplace_back();
      if (pairs) offsets->emplace_back();
      for (const ChunkPlace& backward : chunks) {
        if (!pairs) {
          row.push_back(times.at(forward).F + times.at(backward).I + times.at(backward).W);
          continue;
        }
        const PairTimes& pair = timer.pair(map[forward.stage.index()], map[backward.stage.index()]);
        row.push_back(pair.length);
        offsets->back().push_back(pair.offsets);
      }
    }
  }
  times.sends.assign(times.stages.size(),
                     std::vector<SendTimes>(static_cast<std::size_t>(schedule.stages())));
  for (std::size_t rank = 0; rank < schedule.chunks.size(); ++rank) {
    for (const ChunkPlace& place : schedule.chunks[rank]) {
      const auto time_to = [&](int stage) {
        if (stage < 0 || stage >= schedule.stages()) return Seconds{};
        const Rank own{static_cast<int>(rank)};
        const Rank to = schedule.host(Stage{stage}, place.direction).rank;
        return to == own ? Seconds{} : timer.send(placement.same_node(own, to));
      };
      times.sends[static_cast<std::size_t>(place.direction)][place.stage.index()] = {
          time_to(place.stage.value + 1), time_to(place.stage.value - 1)};
    }
  }
  return times;
}

LayerBytes layer_bytes(const UnitSet& set, LayerKind kind, Recompute recompute) {
  const UnitWorks& unit = set.units.at(kind);
  if (recompute == Recompute::kFull) return {unit.memory, false};
  for (const Chain* chain :
       {&unit.i_post, &unit.i_combine, &unit.i_mlp, &unit.i_attention, &unit.i_pre}) {
    if (!chain->empty()) return {unit.memory, !set.works[chain->front().index()].is_compute()};
  }
  return {unit.memory, false};
}

}  // namespace orrery
