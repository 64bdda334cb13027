#include "planner/plan_cells.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "planner/memory.hpp"
#include "planner/schedules/timing.hpp"
#include "planner/step_summary.hpp"
#include "sim/analytic.hpp"
#include "workload/lower.hpp"

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

// F&B of a stage's forward with a backward of its own, from a pipeline of that stage alone.
Seconds pair_of_one_stage(const Plan& plan, const std::vector<LayerKind>& layers,
                          const CostSource& costs) {
  Plan alone = plan;
  alone.layout.pp = 1;
  alone.layout.stage_map = {layers};
  Schedule& schedule = alone.schedule;
  schedule = {};
  schedule.microbatches = 2;
  schedule.chunks = {{ChunkPlace{Stage{0}, 0}}};
  const Half first{Microbatch{0}, ChunkId{0}}, second{Microbatch{1}, ChunkId{0}};
  schedule.ranks = {{forward_cell(first.microbatch, first.chunk),
                     pair_cell(second, first),
                     backward_cell(CellKind::kB, second.microbatch, second.chunk)}};
  return Simulated(alone, costs).cells.front()[1].length();
}

class PlanTimes {
 public:
  PlanTimes(const Plan& plan, const CostSource& costs)
      : plan_(plan), costs_(costs), schedule_(plan.schedule) {
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
    if (any) {
      probe_pairs();
    } else {
      times_.pairs.clear();
    }
  }

  // Pairs that the schedule does not have: of a forward and a backward of the same chunk.
  void probe_pairs() {
    std::map<std::vector<LayerKind>, Seconds> known;
    for (std::size_t rank = 0; rank < schedule_.chunks.size(); ++rank) {
      for (std::size_t chunk = 0; chunk < schedule_.chunks[rank].size(); ++chunk) {
        const ChunkPlace place = schedule_.chunks[rank][chunk];
        const StageTimes& stage = times_.at(place);
        Seconds& pair = times_.rank_pairs[rank][chunk][chunk];
        if (pair < (stage.F + stage.I + stage.W) * (1 - 1e-9)) continue;
        const auto& layers = plan_.layout.stage_map[place.stage.index()];
        const auto [probe, is_new] = known.try_emplace(layers);
        if (is_new) probe->second = pair_of_one_stage(plan_, layers, costs_);
        pair = std::min(pair, probe->second);
      }
    }
  }

  const Plan& plan_;
  const CostSource& costs_;
  const Schedule& schedule_;
  CellTimes times_;
};

}  // namespace

CellTimes plan_cell_times(const Plan& plan, const CostSource& costs) {
  return PlanTimes(plan, costs).take();
}

ActivationBytes plan_activation_bytes(const Plan& plan, const DeviceModel& device) {
  const Program program = lower(plan);
  const Timeline timeline = run_analytic(program, device.costs(), plan.layout.gpus());
  ActivationBytes bytes;
  bytes.stages.resize(static_cast<std::size_t>(plan.schedule.directions));
  for (auto& stages : bytes.stages) stages.resize(static_cast<std::size_t>(plan.schedule.stages()));
  // [direction, stage, layer] of the first micro-batch.
  std::map<std::tuple<int, int, int>, std::pair<Bytes, Bytes>> layers;
  for (const Buffer& buffer : program.buffers) {
    if (buffer.kind == BufferKind::kCommunication ||
        buffer.microbatch.value != plan.schedule.microbatches_of(buffer.direction).first)
      continue;
    StageBytes& stage =
        bytes.stages[static_cast<std::size_t>(buffer.direction)][buffer.stage.index()];
    auto& [activations, operands] = layers[{buffer.direction, buffer.stage.value, buffer.layer}];
    const bool made_in_backward = buffer.kind == BufferKind::kWeightGradientInput;
    (made_in_backward                            ? stage.operands
     : buffer.kind == BufferKind::kActivation ? stage.until_gradient
                                                 : stage.until_weight) += buffer.bytes;
    (made_in_backward ? operands : activations) += buffer.bytes;
    stage.layer_activations = std::max(stage.layer_activations, activations);
    stage.layer_operands = std::max(stage.layer_operands, operands);
  }
  for (int rank = 0; rank < plan.layout.pp; ++rank) {
    const MemoryTable memory = rank_memory(plan, device.device(), program, timeline, Rank{rank});
    bytes.limits.push_back(memory.capacity - (memory.total() - memory.activations));
  }
  return bytes;
}

}  // namespace orrery
