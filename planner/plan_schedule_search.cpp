#include "planner/plan_schedule_search.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "planner/memory.hpp"
#include "planner/prediction.hpp"
#include "planner/schedules/compact.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/order_search.hpp"
#include "planner/schedules/timing.hpp"
#include "planner/step_summary.hpp"
#include "sim/analytic.hpp"
#include "workload/lower.hpp"
#include "workload/schedule_checker.hpp"

namespace orrery {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

// Every cell of a schedule by itself: pairs and full backwards taken apart.
Schedule taken_apart(const Schedule& schedule) {
  Schedule apart = schedule;
  for (auto& cells : apart.ranks) {
    std::vector<Cell> single;
    for (const Cell& cell : cells) {
      if (cell.has_forward())
        single.push_back(forward_cell(cell.forward.microbatch, cell.forward.chunk));
      if (cell.kind == CellKind::kF) continue;
      const Half& half = cell.backward;
      if (cell.has_input_gradient())
        single.push_back(backward_cell(CellKind::kI, half.microbatch, half.chunk));
      if (cell.has_weight_gradient())
        single.push_back(backward_cell(CellKind::kW, half.microbatch, half.chunk));
    }
    cells = std::move(single);
  }
  return apart;
}

// A step without contention, and the span of each of its cells.
struct Simulated {
  Simulated(const Plan& plan, const CostSource& costs)
      : program(lower(plan)), timeline(run_analytic(program, costs, plan.layout.gpus())) {
    for (int rank = 0; rank < plan.schedule.pp(); ++rank) {
      cells.push_back(cell_spans(program, timeline, Rank{rank},
                                 plan.schedule.ranks[static_cast<std::size_t>(rank)].size()));
    }
  }
  Program program;
  Timeline timeline;
  std::vector<std::vector<Span>> cells;  // [rank][cell]
};

// Inside a cell: the end of its forward's work, of its input gradient's, and the start of the
// latter.
PairOffsets offsets_of(const Simulated& step, std::size_t rank, int cell) {
  double forward = 0, gradient = 0, needs = kNever;
  for (const Stream stream : {Stream::kCompute, Stream::kComm}) {
    for (const InstructionId id : step.program.streams[rank][static_cast<std::size_t>(stream)]) {
      const Instruction& instruction = step.program.instructions[id.index()];
      if (instruction.cell != cell) continue;
      const Span& span = step.timeline.at(id);
      const Pass pass = step.program.work(instruction).pass;
      // Recomputed forwards belong to the backward and come before its gradient is needed.
      if (pass == Pass::kF) forward = std::max(forward, span.end.value());
      if (pass == Pass::kI) {
        gradient = std::max(gradient, span.end.value());
        needs = std::min(needs, span.start.value());
      }
    }
  }
  const double start = step.cells[rank][static_cast<std::size_t>(cell)].start.value();
  return {Seconds{needs - start}, Seconds{forward - start}, Seconds{gradient - start}};
}

class PlanTimes {
 public:
  PlanTimes(const Plan& plan, const CostSource& costs) : schedule_(plan.schedule) {
    times_ = uniform_times(schedule_, {});
    Plan apart = plan;
    apart.schedule = taken_apart(plan.schedule);
    read_single(apart.schedule, Simulated(apart, costs));
    for (auto& stages : times_.stages) {
      for (StageTimes& stage : stages) stage = without_overlap(stage.F, stage.I, stage.W);
    }
    for (const auto& chunks : schedule_.chunks) {
      auto& pairs = times_.rank_pairs.emplace_back();
      for (const ChunkPlace& forward : chunks) {
        auto& row = pairs.emplace_back();
        for (const ChunkPlace& backward : chunks)
          row.push_back(times_.at(forward).F + times_.at(backward).I + times_.at(backward).W);
      }
    }
    read_pairs(Simulated(plan, costs));
  }

  CellTimes take() { return std::move(times_); }

 private:
  void read_single(const Schedule& schedule, const Simulated& step) {
    for (auto& stages : times_.stages) {
      for (StageTimes& stage : stages) stage.F = stage.I = stage.W = Seconds{kNever};
    }
    for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
      for (std::size_t index = 0; index < schedule.ranks[rank].size(); ++index) {
        const Cell& cell = schedule.ranks[rank][index];
        const Half& half = cell.has_forward() ? cell.forward : cell.backward;
        const ChunkPlace place = schedule.chunks[rank][half.chunk.index()];
        StageTimes& stage =
            times_.stages[static_cast<std::size_t>(place.direction)][place.stage.index()];
        Seconds& time = cell.kind == CellKind::kF   ? stage.F
                        : cell.kind == CellKind::kI ? stage.I
                                                    : stage.W;
        time = std::min(time, step.cells[rank][index].length());
      }
    }
    read_messages(step);
  }

  void read_messages(const Simulated& step) {
    const SendTimes never{Seconds{kNever}, Seconds{kNever}};
    times_.sends.assign(times_.stages.size(),
                        std::vector(static_cast<std::size_t>(schedule_.stages()), never));
    for (const Instruction& instruction : step.program.instructions) {
      const bool next = instruction.stream == Stream::kSendNext;
      const bool previous = instruction.stream == Stream::kSendPrev;
      if ((!next && !previous) || !instruction.stage.valid()) continue;
      const Pass pass = step.program.work(instruction).pass;
      SendTimes& sends =
          times_.sends[static_cast<std::size_t>(instruction.direction)][instruction.stage.index()];
      Seconds& time = pass == Pass::kF ? sends.activation : sends.gradient;
      time = std::min(time, step.timeline.at(instruction.id).length());
    }
    for (auto& stages : times_.sends) {
      for (SendTimes& sends : stages) {
        if (sends.activation.value() == kNever) sends.activation = {};
        if (sends.gradient.value() == kNever) sends.gradient = {};
      }
    }
  }

  void read_pairs(const Simulated& step) {
    times_.pairs.resize(times_.stages.size());
    for (std::size_t direction = 0; direction < times_.stages.size(); ++direction) {
      for (const StageTimes& stage : times_.stages[direction])
        times_.pairs[direction].push_back({{}, stage.FB, stage.FB});
    }
    bool any = false;
    for (std::size_t rank = 0; rank < schedule_.ranks.size(); ++rank) {
      std::vector<Seconds> shortest(schedule_.chunks[rank].size(), Seconds{kNever});
      for (std::size_t index = 0; index < schedule_.ranks[rank].size(); ++index) {
        const Cell& cell = schedule_.ranks[rank][index];
        if (cell.kind != CellKind::kFB) continue;
        any = true;
        const std::size_t forward = cell.forward.chunk.index();
        const Seconds length = step.cells[rank][index].length();
        Seconds& known = times_.rank_pairs[rank][forward][cell.backward.chunk.index()];
        known = std::min(known, length);
        if (length >= shortest[forward]) continue;
        shortest[forward] = length;
        const ChunkPlace place = schedule_.chunks[rank][forward];
        times_.stages[static_cast<std::size_t>(place.direction)][place.stage.index()].FB = length;
        times_.pairs[static_cast<std::size_t>(place.direction)][place.stage.index()] =
            offsets_of(step, rank, static_cast<int>(index));
      }
    }
    if (!any) times_.pairs.clear();
  }

  const Schedule& schedule_;
  CellTimes times_;
};

Seconds step_of(const Plan& plan, const DeviceModel& device) {
  return predict(plan, lower(plan), device, {}).timeline.step;
}

bool fits(const Plan& plan, const DeviceModel& device) {
  const Program program = lower(plan);
  const Timeline timeline = run_analytic(program, device.costs(), plan.layout.gpus());
  for (int rank = 0; rank < plan.layout.pp; ++rank) {
    if (!rank_memory(plan, device.device(), program, timeline, Rank{rank}).fits()) return false;
  }
  return true;
}

}  // namespace

CellTimes plan_cell_times(const Plan& plan, const CostSource& costs) {
  return PlanTimes(plan, costs).take();
}

std::vector<int> plan_activation_limits(const Plan& plan, const DeviceModel& device) {
  const Program program = lower(plan);
  const Timeline timeline = run_analytic(program, device.costs(), plan.layout.gpus());
  std::vector<int> limits = peak_activations(plan.schedule);
  for (int rank = 0; rank < plan.layout.pp; ++rank) {
    const MemoryTable memory = rank_memory(plan, device.device(), program, timeline, Rank{rank});
    int& limit = limits[static_cast<std::size_t>(rank)];
    const double free = (memory.capacity - memory.total()).value();
    const double each = memory.activations.value() / limit;
    if (each > 0 && free > 0) limit += static_cast<int>(std::floor(free / each));
  }
  return limits;
}

PlanScheduleSearch search_plan_schedule(const Plan& plan, const DeviceModel& device, long effort,
                                        bool more_memory, const SearchProgress& progress) {
  PlanScheduleSearch out;
  out.plan = plan;
  out.times = plan_cell_times(plan, device.costs());
  out.cells_before = time_schedule(plan.schedule, out.times).makespan.value();
  out.before = out.after = step_of(plan, device);
  const std::vector<int> peaks = peak_activations(plan.schedule);
  out.limits = std::vector<int>(peaks.size(), *std::max_element(peaks.begin(), peaks.end()));
  if (more_memory) out.limits = plan_activation_limits(plan, device);
  for (;;) {
    ScheduleSearchRequest request;
    request.starts.push_back(plan.schedule);
    request.times = out.times;
    request.limits = out.limits;
    request.effort = effort;
    out.search = search_schedule(request, progress);
    // Contention is not in the cell times: of the schedules found the one that it hurts least
    // counts.
    std::vector<Schedule> found = out.search.others;
    found.insert(found.begin(), out.search.schedule);
    std::optional<Seconds> shortest;
    for (const Schedule& schedule : found) {
      if (schedule.ranks == plan.schedule.ranks) continue;  // where the search started
      Plan searched = plan;
      searched.schedule = schedule;
      if (!fits(searched, device)) continue;
      const Seconds step = step_of(searched, device);
      if (shortest && step >= *shortest) continue;
      shortest = step;
      out.plan = std::move(searched);
    }
    if (shortest) {
      out.after = *shortest;
      out.fits = true;
      if (!out.better()) out.plan = plan;
      return out;
    }
    // What activations take differs from one to another: one fewer, down to what is known to fit.
    bool lowered = false;
    for (std::size_t rank = 0; rank < out.limits.size(); ++rank) {
      if (out.limits[rank] <= peaks[rank]) continue;
      --out.limits[rank];
      lowered = true;
    }
    if (!lowered) return out;
  }
}

namespace {

// All maps with one layer moved from a stage to the next, or to the one before. Every stage keeps a
// layer; embedding and head stay where they are.
std::vector<StageMap> neighbours(const StageMap& map) {
  const auto is_layer = [](LayerKind kind) {
    return kind != LayerKind::kEmbedding && kind != LayerKind::kHead;
  };
  const auto layers = [&](const std::vector<LayerKind>& stage) {
    return std::count_if(stage.begin(), stage.end(), is_layer);
  };
  std::vector<StageMap> maps;
  for (std::size_t stage = 0; stage + 1 < map.size(); ++stage) {
    if (layers(map[stage]) > 1 && is_layer(map[stage].back())) {
      StageMap moved = map;
      moved[stage + 1].insert(moved[stage + 1].begin(), moved[stage].back());
      moved[stage].pop_back();
      maps.push_back(std::move(moved));
    }
    if (layers(map[stage + 1]) > 1 && is_layer(map[stage + 1].front())) {
      StageMap moved = map;
      moved[stage].push_back(moved[stage + 1].front());
      moved[stage + 1].erase(moved[stage + 1].begin());
      maps.push_back(std::move(moved));
    }
  }
  return maps;
}

// A layer moved through all stages between two: one step of the search, many of neighbours().
StageMap shifted(const StageMap& map, std::size_t from, std::size_t to) {
  StageMap moved = map;
  const auto is_end = [](LayerKind kind) {
    return kind == LayerKind::kEmbedding || kind == LayerKind::kHead;
  };
  for (std::size_t stage = from; stage < to; ++stage) {
    if (moved[stage].empty() || is_end(moved[stage].back())) return map;
    moved[stage + 1].insert(moved[stage + 1].begin(), moved[stage].back());
    moved[stage].pop_back();
  }
  for (std::size_t stage = from; stage > to; --stage) {
    if (moved[stage].empty() || is_end(moved[stage].front())) return map;
    moved[stage - 1].push_back(moved[stage].front());
    moved[stage].erase(moved[stage].begin());
  }
  for (const auto& stage : moved) {
    if (std::all_of(stage.begin(), stage.end(), is_end)) return map;
  }
  return moved;
}

}  // namespace

StageMapSearch search_stage_map(const Plan& plan, const DeviceModel& device, int most_moves) {
  StageMapSearch out;
  out.plan = plan;
  const std::vector<int> peaks = peak_activations(plan.schedule);
  const std::vector<int> limits(peaks.size(), *std::max_element(peaks.begin(), peaks.end()));
  const auto look_at = [&](const StageMap& map) -> const StageMapTry& {
    const auto known = std::find_if(out.tries.begin(), out.tries.end(),
                                    [&](const StageMapTry& other) { return other.map == map; });
    if (known != out.tries.end()) return *known;
    Plan tried = plan;
    tried.layout.stage_map = map;
    const CellTimes times = plan_cell_times(tried, device.costs());
    out.tries.push_back({map, time_schedule(plan.schedule, times).makespan.value(),
                         lower_bound(compact_problem(plan.schedule, times, limits)).makespan});
    return out.tries.back();
  };
  StageMap best = plan.layout.stage_map;
  double shortest = look_at(best).family;
  for (int move = 0; move < most_moves; ++move) {
    std::vector<StageMap> maps = neighbours(best);
    const std::size_t last = best.size() - 1;
    maps.push_back(shifted(best, 0, last));
    maps.push_back(shifted(best, last, 0));
    for (std::size_t stage = 1; stage < last; ++stage) {
      for (const std::size_t end : {std::size_t{0}, last}) {
        maps.push_back(shifted(best, end, stage));
        maps.push_back(shifted(best, stage, end));
      }
    }
    std::optional<StageMap> better;
    for (const StageMap& map : maps) {
      const double family = look_at(map).family;
      if (family >= shortest * (1 - 1e-9)) continue;
      Plan tried = plan;
      tried.layout.stage_map = map;
      if (!fits(tried, device)) continue;
      shortest = family;
      better = map;
    }
    if (!better) break;
    best = *better;
  }
  out.plan.layout.stage_map = best;
  std::stable_sort(out.tries.begin(), out.tries.end(),
                   [](const StageMapTry& a, const StageMapTry& b) { return a.family < b.family; });
  return out;
}

}  // namespace orrery
