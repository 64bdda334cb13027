#include "realrun/replay_comparison.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "core/error.hpp"

namespace orrery {
namespace {

// From the earliest start to the latest end of what is added.
struct Extent {
  std::optional<Span> span;
  void add(const Span& more) {
    if (!span) span = more;
    span->start = std::min(span->start, more.start);
    span->end = std::max(span->end, more.end);
  }
};

struct Extents {
  Extent predicted, measured, open;
  ReplayTimes lengths() const {
    return {predicted.span->length(), measured.span->length(), open.span->length()};
  }
};

bool on_device(const Instruction& instruction) {
  return instruction.stream == Stream::kCompute || instruction.stream == Stream::kComm;
}

int moe_layers(const Plan& plan, Rank rank, const Half& half, bool& only) {
  const ChunkPlace& place = plan.schedule.chunks[rank.index()][half.chunk.index()];
  const std::vector<LayerKind>& entries = plan.layout.stage_map[place.stage.index()];
  const auto count = std::count(entries.begin(), entries.end(), LayerKind::kMoe);
  only = only && static_cast<std::size_t>(count) == entries.size();
  return static_cast<int>(count);
}

// By the difference in whole nanoseconds: what rounding makes of none is no order.
template <class Entry, class Times>
void largest_first(std::vector<Entry>& list, Times times) {
  const auto difference = [&](const Entry& entry) {
    const auto [predicted, measured] = times(entry);
    return std::llround(1e9 * std::abs((predicted - measured).value()));
  };
  std::stable_sort(list.begin(), list.end(),
                   [&](const Entry& a, const Entry& b) { return difference(a) > difference(b); });
}

}  // namespace

ReplayComparison compare_replay(const Program& program, const Timeline& predicted,
                                const ReplayRecord& record) {
  const Seconds origin = replay_origin(program, predicted, record.ids, record.pairs == 0);
  ReplayComparison comparison;
  Extents all;
  std::map<int, Extents> cells;
  std::map<std::string, ReplayedWork> works;
  Seconds predicted_work;
  for (std::size_t at = 0; at < record.ids.size(); ++at) {
    const Instruction& instruction = program.instructions[record.ids[at].index()];
    if (!on_device(instruction)) continue;
    const Span& absolute = predicted.at(instruction.id);
    const Span expected{absolute.start - origin, absolute.end - origin};
    for (Extents* extents : {&all, &cells[instruction.cell]}) {
      extents->predicted.add(expected);
      extents->measured.add(record.gated[at]);
      extents->open.add(record.open[at]);
    }
    const Work& work = program.work(instruction);
    ReplayedWork& kind = works[work.name];
    kind.name = work.name;
    kind.computes = work.is_compute();
    ++kind.instructions;
    const auto add = [&](ReplayTimes& times) {
      times.predicted += expected.length();
      times.measured += record.gated[at].length();
      times.open += record.open[at].length();
    };
    add(kind.times);
    if (!work.is_compute()) continue;
    add(comparison.computing);
    predicted_work += expected.length();
  }
  ORRERY_CHECK(all.measured.span.has_value(), "a replay of {} instructions", record.ids.size());
  comparison.all = {all.predicted.span->end, all.measured.span->end, all.open.span->end};
  const std::vector<Cell>& schedule = record.plan.schedule.ranks[record.rank.index()];
  for (const auto& [number, extents] : cells) {
    if (number < 0 || schedule[static_cast<std::size_t>(number)].kind != CellKind::kFB) continue;
    const Cell& cell = schedule[static_cast<std::size_t>(number)];
    ReplayedPair pair{number, extents.lengths(), 0, 0, true};
    pair.forward_moe = moe_layers(record.plan, record.rank, cell.forward, pair.only_moe);
    pair.backward_moe = moe_layers(record.plan, record.rank, cell.backward, pair.only_moe);
    comparison.pairs.push_back(pair);
  }
  for (auto& [name, work] : works) comparison.works.push_back(std::move(work));
  comparison.ops = record.ops;
  largest_first(comparison.works, [](const ReplayedWork& work) {
    return std::pair(work.times.predicted, work.times.measured);
  });
  largest_first(comparison.ops,
                [](const MeasuredOp& op) { return std::pair(op.predicted, op.measured); });
  Seconds of_ops;
  for (const MeasuredOp& op : comparison.ops) of_ops += op.predicted;
  comparison.ops_off = predicted_work > Seconds{} ? of_ops / predicted_work - 1 : 0;
  return comparison;
}

}  // namespace orrery
