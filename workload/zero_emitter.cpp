// The collectives of ZeRO stages 2 and 3 between the other instructions of a cell. The
// communication stream takes them one by one with everything else on it, so that where they stand
// decides what waits for them.
//
// The weights of a unit are gathered while the one before it runs, beside its MLP and behind the
// transfer by which the MLP gets its input; at most one unit ahead, since they wait for the unit
// before that to end. Gradients leave beside the attention of the unit that follows, and the one
// behind that fills none until they have left, so that two units have theirs whole at the most (as
// in FSDP). What a cell begins or ends with has nothing to run beside.
#include <algorithm>

#include "workload/cell_emitter.hpp"

namespace orrery {
namespace {

const Chain& gathers_of(const ZeroUnit& zero, bool forward) {
  return forward ? zero.gather_F : zero.gather_I;
}

}  // namespace

void RankEmitter::gather_first(Flow& flow) {
  if (flow.units.empty() || flow.units.front().zero == nullptr) return;
  const Unit& unit = flow.units.front();
  for (WorkId work : gathers_of(*unit.zero, flow.forward))
    gathers_.push_back({work, flow.tail, &flow, unit.layer});
  communicate(gathers_);
}

void RankEmitter::begin_unit(Flow& flow, const Unit& unit) {
  flow.gathered = flow.gathered_ahead;
  flow.gathered_ahead = InstructionId();
  flow.room = reduced_;
  ++flow.begun;
  if (unit.zero != nullptr && flow.begun < flow.units.size()) {
    const Unit& next = flow.units[flow.begun];
    for (WorkId work : gathers_of(*next.zero, flow.forward))
      gathers_.push_back({work, flow.tail, &flow, next.layer});
  }
  collectives_beside_ = !gathers_.empty() || !reductions_.empty();
}

void RankEmitter::quantise_weights(Flow& flow, const Unit& unit) {
  if (unit.zero == nullptr) return;
  const Chain& chain = flow.forward ? unit.zero->quantise_F : unit.zero->quantise_I;
  if (chain.empty()) return;
  const InstructionId deps[] = {flow.gathered};
  flow.gathered = InstructionId();
  for (WorkId work : chain) add(work, Stream::kCompute, deps, &flow, unit.layer);
}

void RankEmitter::end_unit() {
  communicate(gathers_);
  communicate(reductions_);
  collectives_beside_ = false;
}

void RankEmitter::reduce_gradients(Flow& flow, const Unit& unit) {
  if (unit.zero == nullptr) return;
  for (WorkId work : unit.zero->reduce)
    reductions_.push_back(
        {work, tail_[static_cast<std::size_t>(Stream::kCompute)], &flow, unit.layer});
}

void RankEmitter::run_beside_collectives(Flow& flow, const Unit& unit, const Chain& chain,
                                         Collectives& waiting) {
  if (chain.empty()) return;
  // Behind the first transfer of the chain, which its computation waits for.
  const auto transfer = std::find_if(chain.begin(), chain.end(), [&](WorkId work) {
    return !program_.works[work.index()].is_compute();
  });
  const auto cut = transfer == chain.end() ? chain.begin() : std::next(transfer);
  run(flow, unit, {chain.begin(), cut});
  communicate(waiting);
  run(flow, unit, {cut, chain.end()});
}

void RankEmitter::communicate(Collectives& waiting) {
  for (const Collective& each : waiting) {
    const InstructionId deps[] = {each.after};
    const InstructionId id = add(each.work, Stream::kComm, deps, each.flow, each.layer);
    const bool gathers = program_.works[each.work.index()].component == Component::kParameterGather;
    (gathers ? each.flow->gathered_ahead : reduced_) = id;
  }
  waiting.clear();
}

}  // namespace orrery
