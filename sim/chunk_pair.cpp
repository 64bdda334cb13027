#include "sim/chunk_pair.hpp"

#include <algorithm>

#include "sim/analytic.hpp"
#include "workload/lower.hpp"

namespace orrery {

Plan chunk_pair_plan(const Plan& plan, const std::vector<LayerKind>& entries) {
  Plan pair = plan;
  pair.layout.dp *= pair.layout.pp;  // the same GPUs, one stage
  pair.layout.pp = 1;
  pair.layout.stage_map = {entries};
  pair.schedule = {};
  pair.schedule.family = "pair";
  pair.schedule.microbatches = 2;
  pair.schedule.chunks = {{ChunkPlace{Stage(0), 0}}};
  const ChunkId chunk(0);
  pair.schedule.ranks = {{pair_cell({Microbatch(1), chunk}, {Microbatch(0), chunk})}};
  return pair;
}

Program chunk_pair_program(const Plan& plan, const std::vector<LayerKind>& entries) {
  return lower(chunk_pair_plan(plan, entries));
}

ChunkPair simulate_chunk_pair(const Plan& plan, const std::vector<LayerKind>& entries,
                              const CostSource& costs) {
  const Program program = chunk_pair_program(plan, entries);
  const Timeline timeline = run_analytic(program, costs, plan.layout.gpus());
  ChunkPair pair;
  Seconds end;
  std::vector<Seconds> slot_starts;
  for (const Instruction& instruction : program.instructions) {
    if (instruction.cell != 0) continue;
    const Span& span = timeline.at(instruction.id);
    const Work& work = program.work(instruction);
    end = std::max(end, span.end);
    if (work.is_compute()) {
      const ComputeCost cost = costs.compute(work, instruction.lent_sms);
      pair.compute_busy += cost.busy;
      pair.gaps += cost.gaps;
    } else {
      pair.comm_busy += span.length();
      if (work.wire.pattern == Pattern::kDispatchCached) slot_starts.push_back(span.start);
    }
  }
  pair.wall = end;
  // Rounding must not show as a negative wait.
  pair.stalls = std::max(Seconds{}, pair.wall - pair.compute_busy - pair.gaps);
  if (pair.stalls < 1e-9 * pair.wall) pair.stalls = Seconds{};
  for (std::size_t slot = 0; slot < slot_starts.size(); ++slot) {
    const bool last = slot + 1 == slot_starts.size();
    pair.slots.push_back((last ? end : slot_starts[slot + 1]) - slot_starts[slot]);
  }
  return pair;
}

}  // namespace orrery
