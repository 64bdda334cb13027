#include "workload/lower.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.hpp"
#include "workload/cell_emitter.hpp"
#include "workload/closing.hpp"
#include "workload/placement.hpp"
#include "workload/unit_set.hpp"

namespace orrery {
namespace {

WorkId add_work(Program& program, Work work) {
  program.works.push_back(std::move(work));
  return WorkId(static_cast<std::int64_t>(program.works.size()) - 1);
}

// Sends and receives find each other, and each receive stream takes the order of its sender.
void match_transfers(Program& program, const LoweringContext& context) {
  for (const auto& [message, recv] : context.recvs) {
    const auto send = context.sends.find(message);
    ORRERY_CHECK(send != context.sends.end(), "no send from stage {} to {}", message.from.value,
                 message.to.value);
    program.instructions[recv.index()].partner = send->second;
    program.instructions[send->second.index()].partner = recv;
  }
  for (auto& streams : program.streams) {
    for (Stream stream : {Stream::kRecvNext, Stream::kRecvPrev}) {
      auto& list = streams[static_cast<std::size_t>(stream)];
      std::sort(list.begin(), list.end(), [&](InstructionId a, InstructionId b) {
        return program.instructions[a.index()].partner < program.instructions[b.index()].partner;
      });
    }
  }
}

void lay_out_events(Program& program, std::vector<std::pair<InstructionId, BufferEvent>> events) {
  std::stable_sort(events.begin(), events.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::size_t next = 0;
  for (Instruction& instruction : program.instructions) {
    instruction.first_event = static_cast<std::uint32_t>(program.buffer_events.size());
    for (; next < events.size() && events[next].first == instruction.id; ++next) {
      program.buffer_events.push_back(events[next].second);
    }
    instruction.last_event = static_cast<std::uint32_t>(program.buffer_events.size());
  }
  ORRERY_CHECK(next == events.size(), "{} of {} buffer events placed", next, events.size());
}

// The cells of all ranks, and what ties them together.
class CellLowering {
 public:
  CellLowering(const Plan& plan, const UnitSet& set, const ZeroWorks& zero, Program& program)
      : program_(program), context_{plan, set, zero, place(plan.cluster, plan.layout), {}, {}} {
    ORRERY_CHECK(plan.schedule.pp() == plan.layout.pp, "schedule has {} ranks, layout pp={}",
                 plan.schedule.pp(), plan.layout.pp);
    ORRERY_CHECK(plan.schedule.stages() == static_cast<int>(plan.layout.stage_map.size()),
                 "schedule has {} stages, the stage map {}", plan.schedule.stages(),
                 plan.layout.stage_map.size());
    program.pp = plan.layout.pp;
    program.streams.resize(static_cast<std::size_t>(plan.layout.pp));
    for (int rank = 0; rank < plan.layout.pp; ++rank) {
      ranks_.emplace_back(program, context_, Rank(rank));
      const std::vector<Cell>& cells = plan.schedule.ranks[static_cast<std::size_t>(rank)];
      for (std::size_t cell = 0; cell < cells.size(); ++cell)
        ranks_.back().emit(cells[cell], static_cast<int>(cell));
    }
    match_transfers(program, context_);
  }
  CellLowering(const CellLowering&) = delete;
  CellLowering& operator=(const CellLowering&) = delete;

  std::vector<RankEmitter>& ranks() { return ranks_; }

  // When everything is emitted.
  void finish() {
    std::vector<std::pair<InstructionId, BufferEvent>> events;
    for (const RankEmitter& rank : ranks_)
      events.insert(events.end(), rank.events().begin(), rank.events().end());
    lay_out_events(program_, std::move(events));
  }

 private:
  Program& program_;
  LoweringContext context_;
  std::vector<RankEmitter> ranks_;
};

// What follows the cells: one instruction a GPU, or one on each of the pipeline ranks that take
// part together.
void emit_closing(const Plan& plan, Program& program, std::vector<RankEmitter>& ranks) {
  for (ClosingStep& step :
       closing_steps(plan.model, plan.cluster, plan.layout, plan.training, plan.schedule)) {
    std::vector<InstructionId> ids;
    for (Rank rank : step.ranks) {
      const WorkId work = add_work(program, step.work);
      ids.push_back(ranks[rank.index()].emit_closing(
          work, step.work.is_compute() ? Stream::kCompute : Stream::kComm));
    }
    if (step.work.is_compute()) continue;
    for (const InstructionId id : ids) {
      program.instructions[id.index()].collective =
          static_cast<std::int32_t>(program.collectives.size());
    }
    program.collectives.push_back(std::move(ids));
  }
}

}  // namespace

Program lower(const Plan& plan) {
  if (const auto why = why_no_zero(plan.layout, plan.schedule))
    throw InputError(fmt::format("error: {}\n  = {}", *why, kZeroHint));
  std::vector<LayerKind> kinds;
  for (const auto& stage : plan.layout.stage_map)
    kinds.insert(kinds.end(), stage.begin(), stage.end());
  const RoutingSpread spread =
      routing_spread(plan.model, plan.cluster, plan.layout, plan.training.seed);
  UnitSet set =
      make_unit_set(plan.model, plan.cluster, plan.layout, plan.training.sequence, spread, kinds);
  Program program;
  const ZeroWorks zero = make_zero_works(plan, set.works.size());
  program.works = std::move(set.works);
  program.works.insert(program.works.end(), zero.works.begin(), zero.works.end());
  CellLowering cells(plan, set, zero, program);
  emit_closing(plan, program, cells.ranks());
  cells.finish();
  return program;
}

void lower_cells(const Plan& plan, const UnitSet& set, const ZeroWorks& zero, Program& program) {
  program.instructions.clear();
  program.deps.clear();
  program.streams.clear();
  program.collectives.clear();
  program.buffers.clear();
  program.buffer_events.clear();
  CellLowering(plan, set, zero, program).finish();
}

}  // namespace orrery
