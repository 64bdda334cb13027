#include "planner/step_summary.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "core/stage_map.hpp"
#include "workload/parameters.hpp"

namespace orrery {
namespace {

constexpr double kSecondsPerHour = 3600;
constexpr double kSecondsPerDay = 86400;

const std::vector<InstructionId>& stream(const Program& program, Rank rank, Stream which) {
  return program.streams[rank.index()][static_cast<std::size_t>(which)];
}

// What runs within the cells of a rank.
struct CellActivity {
  Seconds compute;
  Seconds weights;  // of compute: weight gradients
  Seconds covered;  // computation or communication, overlaps counted once
};

std::vector<CellActivity> cell_activity(const Program& program, const Timeline& timeline, Rank rank,
                                        std::size_t cells) {
  std::vector<CellActivity> activity(cells);
  std::vector<std::vector<Span>> spans(cells);
  for (Stream which : {Stream::kCompute, Stream::kComm}) {
    for (InstructionId id : stream(program, rank, which)) {
      const Instruction& instruction = program.instructions[id.index()];
      if (instruction.cell < 0) continue;
      const auto cell = static_cast<std::size_t>(instruction.cell);
      const Span& span = timeline.at(id);
      spans[cell].push_back(span);
      if (which != Stream::kCompute) continue;
      activity[cell].compute += span.length();
      if (program.work(instruction).pass == Pass::kW) activity[cell].weights += span.length();
    }
  }
  for (std::size_t cell = 0; cell < cells; ++cell) {
    std::sort(spans[cell].begin(), spans[cell].end(),
              [](const Span& a, const Span& b) { return a.start < b.start; });
    Seconds reached{-std::numeric_limits<double>::infinity()};
    for (const Span& span : spans[cell]) {
      if (span.end <= reached) continue;
      activity[cell].covered += span.end - std::max(span.start, reached);
      reached = span.end;
    }
  }
  return activity;
}

// Differences of large sums: what is left of rounding is no time.
Seconds without_rounding(Seconds difference, Seconds scale) {
  return std::abs(difference.value()) < 1e-12 * scale.value() ? Seconds{} : difference;
}

RankSummary summarise_rank(const Plan& plan, const Program& program, const Timeline& timeline,
                           Rank rank) {
  const std::vector<Cell>& cells = plan.schedule.ranks[rank.index()];
  const std::vector<Span> spans = cell_spans(program, timeline, rank, cells.size());
  const std::vector<CellActivity> activity = cell_activity(program, timeline, rank, cells.size());
  RankSummary out;
  out.rank = rank;
  for (const ChunkPlace& chunk : plan.schedule.chunks[rank.index()])
    out.stages.push_back(chunk.stage);
  Breakdown& time = out.time;
  for (std::size_t cell = 0; cell < cells.size(); ++cell) {
    const Seconds length = spans[cell].length();
    switch (cells[cell].kind) {
      case CellKind::kF:
        time.F += length;
        ++out.n_F;
        break;
      case CellKind::kI:
        time.I += length;
        ++out.n_I;
        break;
      case CellKind::kW:
        time.W += length;
        ++out.n_W;
        break;
      case CellKind::kB:
        time.I += length - activity[cell].weights;
        time.W += activity[cell].weights;
        ++out.n_B;
        break;
      case CellKind::kFB:
      case CellKind::kFI:
        time.FB += length;
        ++out.n_FB;
        break;
    }
    time.exposed_comm += activity[cell].covered - activity[cell].compute;
    time.wait += length - activity[cell].covered;
  }
  for (Stream which : {Stream::kCompute, Stream::kComm}) {
    for (InstructionId id : stream(program, rank, which)) {
      if (program.instructions[id.index()].cell < 0) time.optimizer += timeline.at(id).length();
    }
  }
  time.bubble = timeline.step - (time.F + time.I + time.W + time.FB + time.optimizer);
  for (Seconds* rest : {&time.bubble, &time.exposed_comm, &time.wait})
    *rest = without_rounding(*rest, timeline.step);
  return out;
}

bool uses_own_stage_map(const Plan& plan) {
  if (!plan.model.stage_map) return false;
  Diagnostics diagnostics;
  return parse_stage_map(*plan.model.stage_map, diagnostics) == plan.layout.stage_map;
}

AssumedFigures assumed_figures(const Plan& plan, const Program& program, const CostSource& costs,
                               const std::string& fidelity) {
  const AssumedFigures timing = costs.assumed(program);
  std::set<AssumedFigure> all(timing.begin(), timing.end());
  const double share = plan.cluster.fabric.oversubscription;
  if (fidelity == "analytic" && share != 1) {
    all.insert({plan.cluster.name + ": fabric.oversubscription",
                fmt::format("{:g} in the file, but nothing contends at this fidelity", share)});
  }
  all.insert(plan.cluster.assumed.begin(), plan.cluster.assumed.end());
  for (const AssumedFigure& figure : plan.model.assumed) {
    // The model's own stage map counts only where the plan uses it.
    const bool is_map = figure.name.ends_with(": stage_map");
    if (!is_map || uses_own_stage_map(plan)) all.insert(figure);
  }
  return {all.begin(), all.end()};
}

}  // namespace

std::vector<Span> cell_spans(const Program& program, const Timeline& timeline, Rank rank,
                             std::size_t cells) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  std::vector<Span> spans(cells, Span{Seconds{kNever}, Seconds{-kNever}});
  for (Stream which : {Stream::kCompute, Stream::kComm}) {
    for (InstructionId id : stream(program, rank, which)) {
      const std::int32_t cell = program.instructions[id.index()].cell;
      if (cell < 0) continue;
      Span& span = spans[static_cast<std::size_t>(cell)];
      span.start = std::min(span.start, timeline.at(id).start);
      span.end = std::max(span.end, timeline.at(id).end);
    }
  }
  for (Span& span : spans) {
    if (span.end < span.start)
      span = {};  // a cell without work: a stage of nothing but an embedding, say
  }
  return spans;
}

StepSummary summarise(const Plan& plan, const Device& device, const Program& program,
                      const Timeline& timeline, const CostSource& costs) {
  StepSummary out;
  out.step = timeline.step;
  out.gpus = plan.layout.gpus();
  out.fidelity = timeline.source;
  out.activities = timeline.activities;
  out.rank_classes = timeline.rank_classes;
  const double tokens = plan.training.tokens_per_step();
  const double seconds = timeline.step.value();
  out.tokens_per_day = tokens / seconds * kSecondsPerDay;
  const double run_seconds = plan.training.tokens / tokens * seconds;
  out.gpu_hours = run_seconds * out.gpus / kSecondsPerHour;
  out.days = run_seconds / kSecondsPerDay;
  out.cost = out.gpu_hours * plan.cluster.price_per_gpu_hour;
  const auto rate = [&](Causality causality) {
    return training_flops_per_token(plan.model, plan.training.sequence, causality) *
           (tokens / out.gpus) / timeline.step;
  };
  out.causal = rate(Causality::kCausal);
  out.noncausal = rate(Causality::kNonCausal);
  out.mfu_causal = out.causal / device.bf16_peak;
  out.mfu_noncausal = out.noncausal / device.bf16_peak;
  for (int number = 0; number < plan.layout.pp; ++number) {
    RankSummary rank = summarise_rank(plan, program, timeline, Rank(number));
    rank.memory = rank_memory(plan, device, program, timeline, Rank(number));
    out.ranks.push_back(std::move(rank));
  }
  const double share = 1.0 / plan.layout.pp;
  for (const RankSummary& rank : out.ranks) {
    for (Seconds Breakdown::*part :
         {&Breakdown::F, &Breakdown::I, &Breakdown::W, &Breakdown::FB, &Breakdown::bubble,
          &Breakdown::optimizer, &Breakdown::exposed_comm, &Breakdown::wait}) {
      out.mean.*part += share * (rank.time.*part);
    }
  }
  out.assumed = assumed_figures(plan, program, costs, out.fidelity);
  out.collectives = collectives_of(program, costs);
  return out;
}

}  // namespace orrery
