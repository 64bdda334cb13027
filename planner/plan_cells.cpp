#include "planner/plan_cells.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "core/error.hpp"
#include "planner/memory.hpp"
#include "planner/schedules/timing.hpp"
#include "planner/step_summary.hpp"
#include "sim/analytic.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

constexpr double kWithRounding = 1 + 1e-9;
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

struct TimedPair {
  Seconds length = Seconds{kNever};
  PairOffsets offsets;
};

struct TimedStages {
  std::array<std::array<TimedPair, 2>, 2> pairs;  // [forward][backward]
  std::array<BackwardTimes, 2> backwards{{{Seconds{kNever}, {}}, {Seconds{kNever}, {}}}};
};

// Pairs and full backwards of two stages, from a pipeline of one rank that holds both: nothing
// waits for messages there.
TimedStages time_stages(const Plan& plan, const std::vector<LayerKind>& first,
                        const std::vector<LayerKind>& second, const CostSource& costs) {
  Plan alone = plan;
  alone.layout.pp = 1;
  alone.layout.stage_map = {first, second};
  Schedule& schedule = alone.schedule;
  schedule = {};
  schedule.microbatches = 4;
  schedule.chunks = {{ChunkPlace{Stage{0}, 0}, ChunkPlace{Stage{1}, 0}}};
  const auto half = [](int microbatch, int chunk) {
    return Half{Microbatch{microbatch}, ChunkId{chunk}};
  };
  const auto F = [&](int microbatch, int chunk) {
    return forward_cell(Microbatch{microbatch}, ChunkId{chunk});
  };
  const auto B = [&](int microbatch, int chunk) {
    return backward_cell(CellKind::kB, Microbatch{microbatch}, ChunkId{chunk});
  };
  schedule.ranks = {{F(0, 0), F(0, 1), pair_cell(half(1, 0), half(0, 1)),
                     pair_cell(half(1, 1), half(0, 0)), B(1, 1), pair_cell(half(2, 0), half(1, 0)),
                     F(2, 1), F(3, 0), pair_cell(half(3, 1), half(2, 1)), B(2, 0), B(3, 1),
                     B(3, 0)}};
  const Simulated step(alone, costs);
  TimedStages timed;
  for (std::size_t index = 0; index < schedule.ranks.front().size(); ++index) {
    const Cell& cell = schedule.ranks.front()[index];
    if (cell.kind == CellKind::kF) continue;
    const Seconds length = step.cells.front()[index].length();
    const PairOffsets offsets = offsets_of(step, 0, static_cast<int>(index));
    if (cell.kind == CellKind::kFB) {
      timed.pairs[cell.forward.chunk.index()][cell.backward.chunk.index()] = {length, offsets};
      continue;
    }
    BackwardTimes& backward = timed.backwards[cell.backward.chunk.index()];
    if (length < backward.length) backward = {length, offsets.gradient_ready};
  }
  return timed;
}

// The full backward of a stage, in the same way.
BackwardTimes time_backward(const Plan& plan, const std::vector<LayerKind>& layers,
                            const CostSource& costs) {
  Plan alone = plan;
  alone.layout.pp = 1;
  alone.layout.stage_map = {layers};
  Schedule& schedule = alone.schedule;
  schedule = {};
  schedule.microbatches = 2;
  schedule.chunks = {{ChunkPlace{Stage{0}, 0}}};
  auto& cells = schedule.ranks.emplace_back();
  for (int number = 0; number < schedule.microbatches; ++number) {
    cells.push_back(forward_cell(Microbatch{number}, ChunkId{0}));
    cells.push_back(backward_cell(CellKind::kB, Microbatch{number}, ChunkId{0}));
  }
  const Simulated step(alone, costs);
  BackwardTimes shortest{Seconds{kNever}, {}};
  for (const int index : {1, 3}) {
    const Seconds length = step.cells.front()[static_cast<std::size_t>(index)].length();
    if (length < shortest.length) shortest = {length, offsets_of(step, 0, index).gradient_ready};
  }
  return shortest;
}

bool has_pairs(const Schedule& schedule) {
  return std::any_of(schedule.ranks.begin(), schedule.ranks.end(), [](const auto& cells) {
    return std::any_of(cells.begin(), cells.end(),
                       [](const Cell& cell) { return cell.kind == CellKind::kFB; });
  });
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
    for (const auto& stages : times_.stages) {
      auto& backwards = times_.backwards.emplace_back();
      for (const StageTimes& stage : stages)
        backwards.push_back({stage.I + stage.W, stage.I + stage.W});
    }
    if (has_pairs(schedule_)) {
      read_pairs();
    } else {
      read_backwards();
    }
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
      // All messages are one piece of work; where one goes tells what it carries.
      const Stage to = step.program.instructions[instruction.partner.index()].stage;
      SendTimes& sends =
          times_.sends[static_cast<std::size_t>(instruction.direction)][instruction.stage.index()];
      Seconds& time = to > instruction.stage ? sends.activation : sends.gradient;
      time = std::min(time, step.timeline.at(instruction.id).length());
    }
    for (auto& stages : times_.sends) {
      for (SendTimes& sends : stages) {
        if (sends.activation.value() == kNever) sends.activation = {};
        if (sends.gradient.value() == kNever) sends.gradient = {};
      }
    }
  }

  // One that takes longer than I and W is taken as these.
  void take_backward(ChunkPlace place, const BackwardTimes& timed) {
    BackwardTimes& full =
        times_.backwards[static_cast<std::size_t>(place.direction)][place.stage.index()];
    if (timed.length <= full.length * kWithRounding) full = timed;
  }

  void read_backwards() {
    std::map<std::vector<LayerKind>, BackwardTimes> known;
    for (const auto& chunks : schedule_.chunks) {
      for (const ChunkPlace place : chunks) {
        const auto& layers = plan_.layout.stage_map[place.stage.index()];
        const auto [of, is_new] = known.try_emplace(layers);
        if (is_new) of->second = time_backward(plan_, layers, costs_);
        take_backward(place, of->second);
      }
    }
  }

  // Pairs that take longer than their halves one after the other are taken as these.
  void read_pairs() {
    using Layers = std::vector<LayerKind>;
    std::map<std::pair<Layers, Layers>, TimedStages> known;
    for (std::size_t rank = 0; rank < schedule_.chunks.size(); ++rank) {
      const auto& chunks = schedule_.chunks[rank];
      auto& pairs = times_.rank_pairs[rank];
      auto& offsets = times_.rank_offsets.emplace_back();
      for (const auto& row : pairs) {
        auto& of_row = offsets.emplace_back();
        for (const Seconds pair : row) of_row.push_back({{}, pair, pair});
      }
      const auto layers = [&](std::size_t chunk) -> const Layers& {
        return plan_.layout.stage_map[chunks[chunk].stage.index()];
      };
      for (std::size_t forward = 0; forward < chunks.size(); ++forward) {
        for (std::size_t backward = 0; backward < chunks.size(); ++backward) {
          const auto [of, is_new] = known.try_emplace({layers(forward), layers(backward)});
          if (is_new) of->second = time_stages(plan_, layers(forward), layers(backward), costs_);
          const TimedPair& timed = of->second.pairs[0][forward == backward ? 0 : 1];
          const ChunkPlace place = chunks[forward];
          take_backward(place, of->second.backwards[0]);
          if (timed.length > pairs[forward][backward] * kWithRounding) continue;
          pairs[forward][backward] = timed.length;
          offsets[forward][backward] = timed.offsets;
        }
      }
    }
  }

  const Plan& plan_;
  const CostSource& costs_;
  const Schedule& schedule_;
  CellTimes times_;
};

Bytes Lifetimes::*lifetime_of(BufferKind kind) {
  switch (kind) {
    case BufferKind::kActivation: return &Lifetimes::until_input_gradient;
    case BufferKind::kActivationForWeights: return &Lifetimes::until_weight_gradient;
    case BufferKind::kWeightGradientInput: return &Lifetimes::weight_operands;
    case BufferKind::kCommunication: break;
  }
  throw Bug("received data has no lifetime of a layer");
}

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
  // Of the first micro-batch of each direction.
  std::map<std::tuple<int, int, int>, Lifetimes> layers;
  for (const Buffer& buffer : program.buffers) {
    if (buffer.kind == BufferKind::kCommunication ||
        buffer.microbatch.value != plan.schedule.microbatches_of(buffer.direction).first)
      continue;
    StageBytes& stage =
        bytes.stages[static_cast<std::size_t>(buffer.direction)][buffer.stage.index()];
    Lifetimes& layer = layers[{buffer.direction, buffer.stage.value, buffer.layer}];
    Bytes Lifetimes::*const of = lifetime_of(buffer.kind);
    stage.all.*of += buffer.bytes;
    layer.*of += buffer.bytes;
    stage.largest_activations = std::max(stage.largest_activations,
                                         layer.until_input_gradient + layer.until_weight_gradient);
    stage.largest_operands = std::max(stage.largest_operands, layer.weight_operands);
  }
  for (int rank = 0; rank < plan.layout.pp; ++rank) {
    const MemoryTable memory = rank_memory(plan, device.device(), program, timeline, Rank{rank});
    bytes.limits.push_back(memory.capacity - (memory.total() - memory.activations));
  }
  return bytes;
}

}  // namespace orrery
