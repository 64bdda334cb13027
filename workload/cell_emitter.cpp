#include "workload/cell_emitter.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace orrery {
namespace {

constexpr std::size_t kNoStream = static_cast<std::size_t>(kStreams);

std::size_t index(Stream stream) {
  return static_cast<std::size_t>(stream);
}

// The stream on the other side of the cell barrier.
std::size_t barrier_partner(Stream stream) {
  if (stream == Stream::kCompute) return index(Stream::kComm);
  if (stream == Stream::kComm) return index(Stream::kCompute);
  return kNoStream;
}

// Neighbours by number; the ends of the pipeline are neighbours in schedules that wrap round.
Stream send_stream(Rank from, Rank to) {
  if (to.value == from.value + 1) return Stream::kSendNext;
  if (to.value == from.value - 1) return Stream::kSendPrev;
  return to < from ? Stream::kSendNext : Stream::kSendPrev;
}

Stream recv_stream(Rank from, Rank to) {
  return send_stream(from, to) == Stream::kSendNext ? Stream::kRecvPrev : Stream::kRecvNext;
}

}  // namespace

RankEmitter::RankEmitter(Program& program, LoweringContext& context, Rank rank)
    : program_(program), context_(context), rank_(rank) {}

// ---------------------------------------------------------------------------------------------------------------------
// Single instructions

InstructionId RankEmitter::add(WorkId work, Stream stream, std::span<const InstructionId> deps,
                               const Flow* flow, std::int16_t layer) {
  Instruction instruction;
  instruction.id = next_id();
  instruction.work = work;
  instruction.rank = rank_;
  instruction.stream = stream;
  instruction.overlapped = overlapped_ || (stream == Stream::kCompute && collectives_beside_);
  if (instruction.overlapped)
    instruction.lent_sms = static_cast<std::int16_t>(context_.plan.layout.comm_sms);
  instruction.cell = cell_index_;
  instruction.layer = layer;
  if (flow != nullptr) {
    instruction.stage = flow->place.stage;
    instruction.direction = static_cast<std::int16_t>(flow->place.direction);
    instruction.microbatch = flow->half.microbatch;
  }
  instruction.first_dep = static_cast<std::uint32_t>(program_.deps.size());
  const auto depend = [&](InstructionId on) {
    // The order of the stream already holds for what is on it.
    const bool same_stream = on.valid() && program_.instructions[on.index()].rank == rank_ &&
                             program_.instructions[on.index()].stream == stream;
    if (on.valid() && !same_stream) program_.deps.push_back(on);
  };
  for (InstructionId on : deps) depend(on);
  if (const std::size_t partner = barrier_partner(stream);
      partner != kNoStream && !entered_[index(stream)]) {
    depend(cell_entry_[partner]);
    entered_[index(stream)] = true;
  }
  instruction.last_dep = static_cast<std::uint32_t>(program_.deps.size());
  program_.streams[rank_.index()][index(stream)].push_back(instruction.id);
  tail_[index(stream)] = instruction.id;
  program_.instructions.push_back(instruction);
  return instruction.id;
}

InstructionId RankEmitter::emit_closing(WorkId work, Stream stream) {
  cell_index_ = -1;
  overlapped_ = false;
  const InstructionId deps[] = {tail_[index(Stream::kCompute)], tail_[index(Stream::kComm)]};
  entered_.fill(true);
  return add(work, stream, deps, nullptr, -1);
}

void RankEmitter::run(Flow& flow, const Unit& unit, std::span<const WorkId> chain) {
  for (WorkId work : chain) {
    const bool computes = program_.works[work.index()].is_compute();
    const Stream stream = computes ? Stream::kCompute : Stream::kComm;
    const InstructionId deps[] = {flow.tail, computes ? flow.gathered : InstructionId()};
    if (computes) flow.gathered = InstructionId();
    flow.tail = add(work, stream, deps, &flow, unit.layer);
    attach(flow.tail, flow.inbox, false);
    flow.inbox = -1;
  }
}

InstructionId RankEmitter::run_beside(Flow& flow, const Unit& unit, const Chain& chain,
                                      InstructionId after) {
  const InstructionId deps[] = {after, flow.room};
  InstructionId last = after;
  for (WorkId work : chain) last = add(work, Stream::kCompute, deps, &flow, unit.layer);
  return last;
}

// ---------------------------------------------------------------------------------------------------------------------
// Transfers between stages

void RankEmitter::receive(Flow& flow, int step) {
  const Stage from(flow.place.stage.value - step);
  if (from.value < 0 || from.value >= context_.plan.schedule.stages()) return;
  const Rank sender = context_.plan.schedule.host(from, flow.place.direction).rank;
  const StageTransfer transfer{flow.place.direction, from, flow.place.stage, flow.half.microbatch};
  if (sender == rank_) {
    flow.tail = context_.sends.at(transfer);
    return;
  }
  const WorkId work = context_.placement.same_node(sender, rank_) ? context_.set.send_inside_node
                                                                  : context_.set.send_between_nodes;
  flow.tail = add(work, recv_stream(sender, rank_), {}, &flow, -1);
  context_.recvs.emplace(transfer, flow.tail);
  flow.inbox = new_buffer(BufferKind::kCommunication, context_.set.boundary, flow, -1);
  attach(flow.tail, flow.inbox, true);
}

void RankEmitter::finish(const Flow& flow, int step) {
  const Stage to(flow.place.stage.value + step);
  if (to.value < 0 || to.value >= context_.plan.schedule.stages()) return;
  const Rank receiver = context_.plan.schedule.host(to, flow.place.direction).rank;
  const StageTransfer transfer{flow.place.direction, flow.place.stage, to, flow.half.microbatch};
  if (receiver == rank_) {
    context_.sends.emplace(transfer, flow.tail);
    return;
  }
  const WorkId work = context_.placement.same_node(receiver, rank_)
                          ? context_.set.send_inside_node
                          : context_.set.send_between_nodes;
  const InstructionId deps[] = {flow.tail};
  context_.sends.emplace(transfer, add(work, send_stream(rank_, receiver), deps, &flow, -1));
}

// ---------------------------------------------------------------------------------------------------------------------
// Buffers

std::int32_t RankEmitter::new_buffer(BufferKind kind, Bytes bytes, const Flow& flow,
                                     std::int16_t layer) {
  if (bytes.value() <= 0) return -1;
  program_.buffers.push_back({kind, bytes, flow.place.stage,
                              static_cast<std::int16_t>(flow.place.direction), layer,
                              flow.half.microbatch});
  return static_cast<std::int32_t>(program_.buffers.size()) - 1;
}

void RankEmitter::attach(InstructionId id, std::int32_t buffer, bool alloc) {
  if (buffer >= 0) events_.push_back({id, {buffer, alloc}});
}

RankEmitter::LayerBuffers& RankEmitter::layer_buffers(const Flow& flow, const Unit& unit) {
  return buffers_[{flow.half.microbatch.value, flow.half.chunk.value, unit.layer}];
}

void RankEmitter::begin_forward(const Flow& flow, const Unit& unit) {
  const Lifetimes& memory = unit.works->memory;
  LayerBuffers& buffers = layer_buffers(flow, unit);
  buffers.until_input_gradient =
      new_buffer(BufferKind::kActivation, memory.until_input_gradient, flow, unit.layer);
  buffers.until_weight_gradient =
      new_buffer(BufferKind::kActivationForWeights, memory.until_weight_gradient, flow, unit.layer);
  attach(next_id(), buffers.until_input_gradient, true);
  attach(next_id(), buffers.until_weight_gradient, true);
}

void RankEmitter::begin_input_gradient(Flow& flow, const Unit& unit) {
  LayerBuffers& buffers = layer_buffers(flow, unit);
  buffers.weight_operands = new_buffer(BufferKind::kWeightGradientInput,
                                       unit.works->memory.weight_operands, flow, unit.layer);
  const UnitWorks& works = *unit.works;
  const bool computes = !works.i_post.empty() || !works.i_attention.empty() || !works.i_pre.empty();
  if (computes || flow.inbox < 0) {
    attach(computes || !flow.tail.valid() ? next_id() : flow.tail, buffers.weight_operands, true);
    return;
  }
  buffers.message = flow.tail;
  buffers.inbox = flow.inbox;
  flow.inbox = -1;
}

InstructionId RankEmitter::take_message(const Flow& flow, const Unit& unit) {
  const LayerBuffers& buffers = layer_buffers(flow, unit);
  if (!buffers.message.valid()) return buffers.message;
  attach(next_id(), buffers.weight_operands, true);
  attach(next_id(), buffers.inbox, false);
  return buffers.message;
}

void RankEmitter::end_input_gradient(const Flow& flow, const Unit& unit) {
  attach(tail_[index(Stream::kCompute)], layer_buffers(flow, unit).until_input_gradient, false);
}

void RankEmitter::end_weight_gradient(const Flow& flow, const Unit& unit) {
  const LayerBuffers& buffers = layer_buffers(flow, unit);
  attach(tail_[index(Stream::kCompute)], buffers.until_weight_gradient, false);
  attach(tail_[index(Stream::kCompute)], buffers.weight_operands, false);
  buffers_.erase({flow.half.microbatch.value, flow.half.chunk.value, unit.layer});
}

// ---------------------------------------------------------------------------------------------------------------------
// Layers

RankEmitter::Flow RankEmitter::start(const Half& half, bool forward) {
  Flow flow;
  flow.half = half;
  flow.forward = forward;
  flow.place = context_.plan.schedule.chunks[rank_.index()][half.chunk.index()];
  const std::vector<LayerKind>& entries = context_.plan.layout.stage_map[flow.place.stage.index()];
  for (std::size_t layer = 0; layer < entries.size(); ++layer) {
    const auto zero = context_.zero.units.find(entries[layer]);
    flow.units.push_back({&context_.set.units.at(entries[layer]),
                          zero == context_.zero.units.end() ? nullptr : &zero->second,
                          static_cast<std::int16_t>(layer)});
  }
  if (!forward) std::reverse(flow.units.begin(), flow.units.end());
  return flow;
}

bool RankEmitter::chunk_exchanges(const Flow& flow) const {
  return std::any_of(flow.units.begin(), flow.units.end(),
                     [](const Unit& unit) { return unit.works->exchanges(); });
}

void RankEmitter::forward_unit(Flow& flow, const Unit& unit) {
  begin_unit(flow, unit);
  begin_forward(flow, unit);
  quantise_weights(flow, unit);
  const UnitWorks& works = *unit.works;
  const Chain& longest = !works.f_mlp.empty()   ? works.f_mlp
                         : !works.f_pre.empty() ? works.f_pre
                                                : works.f_post;
  for (const Chain* chain : {&works.f_pre, &works.f_attention, &works.f_dispatch, &works.f_mlp,
                             &works.f_combine, &works.f_post}) {
    if (chain == &longest) {
      run_beside_collectives(flow, unit, *chain, gathers_);
    } else {
      run(flow, unit, *chain);
    }
  }
  end_unit();
}

void RankEmitter::recompute_unit(Flow& flow, const Unit& unit) {
  const Recompute set = context_.plan.layout.recompute;
  if (!recomputes_experts(set) || (set != Recompute::kFull && !unit.works->exchanges())) return;
  // From the stored input to the operands of the MLP's backward; independent of the gradient that
  // comes in, whose buffer stays with `flow`.
  Flow again = flow;
  again.tail = InstructionId();
  again.inbox = -1;
  const UnitWorks& works = *unit.works;
  if (set == Recompute::kFull) run(again, unit, works.f_attention);
  for (const Chain* chain : {&works.f_dispatch, &works.f_mlp}) run(again, unit, *chain);
}

void RankEmitter::input_gradient_unit(Flow& flow, const Unit& unit, bool with_weights) {
  const UnitWorks& works = *unit.works;
  // Weight gradients run beside the communication that follows their input gradients.
  const bool around = overlapped_;
  const bool in_line = context_.plan.layout.weights == WeightGradients::kInline;
  const bool beside = around || (with_weights && !in_line && works.exchanges());
  const auto exchange = [&](const Chain& chain) {
    overlapped_ = beside;
    run(flow, unit, chain);
    overlapped_ = around;
  };
  const auto weights = [&](const Chain& chain) {
    if (!with_weights) return;
    overlapped_ = beside;
    if (in_line) {
      flow.tail = run_beside(flow, unit, chain, flow.tail);
    } else {
      run_beside(flow, unit, chain);
    }
    overlapped_ = around;
  };
  begin_unit(flow, unit);
  begin_input_gradient(flow, unit);
  quantise_weights(flow, unit);
  if (works.i_mlp.empty()) {
    run_beside_collectives(flow, unit, works.i_post, gathers_);
  } else {
    run(flow, unit, works.i_post);
  }
  weights(works.w_post);
  recompute_unit(flow, unit);
  exchange(works.i_combine);
  run_beside_collectives(flow, unit, works.i_mlp, gathers_);
  if (in_line) weights(works.w_mlp);
  exchange(works.i_dispatch);
  if (!in_line) weights(works.w_mlp);
  run_beside_collectives(flow, unit, works.i_attention, reductions_);
  if (with_weights) run(flow, unit, works.i_pre);
  weights(works.w_attention);
  if (!with_weights) run(flow, unit, works.i_pre);
  end_input_gradient(flow, unit);
  if (with_weights) {
    overlapped_ = beside;
    take_message(flow, unit);
    run_beside(flow, unit, works.w_pre, flow.tail);
    overlapped_ = around;
  }
  end_unit();
  if (!with_weights) return;
  end_weight_gradient(flow, unit);
  reduce_gradients(flow, unit);
}

void RankEmitter::weight_gradient_unit(Flow& flow, const Unit& unit) {
  const UnitWorks& works = *unit.works;
  const InstructionId message = take_message(flow, unit);
  flow.room = reduced_;
  collectives_beside_ = !reductions_.empty();
  for (const Chain* chain : {&works.w_post, &works.w_mlp, &works.w_attention, &works.w_pre}) {
    run_beside(flow, unit, *chain, message);
  }
  end_unit();
  end_weight_gradient(flow, unit);
  reduce_gradients(flow, unit);
}

// ---------------------------------------------------------------------------------------------------------------------
// Cells

void RankEmitter::emit(const Cell& cell, int cell_index) {
  cell_index_ = cell_index;
  cell_entry_ = tail_;
  entered_.fill(false);
  overlapped_ = false;
  reduced_ = InstructionId();
  switch (cell.kind) {
    case CellKind::kF: {
      Flow flow = start(cell.forward, true);
      receive(flow, 1);
      gather_first(flow);
      for (const Unit& unit : flow.units) forward_unit(flow, unit);
      finish(flow, 1);
      break;
    }
    case CellKind::kB:
    case CellKind::kI: {
      Flow flow = start(cell.backward, false);
      receive(flow, -1);
      gather_first(flow);
      for (const Unit& unit : flow.units)
        input_gradient_unit(flow, unit, cell.kind == CellKind::kB);
      finish(flow, -1);
      communicate(reductions_);
      break;
    }
    case CellKind::kW: {
      Flow flow = start(cell.backward, false);
      for (const Unit& unit : flow.units) weight_gradient_unit(flow, unit);
      communicate(reductions_);
      break;
    }
    case CellKind::kFB: {
      Flow forward = start(cell.forward, true);
      Flow backward = start(cell.backward, false);
      receive(forward, 1);
      receive(backward, -1);
      gather_first(forward);
      gather_first(backward);
      overlapped_ = chunk_exchanges(forward) || chunk_exchanges(backward);
      emit_pair(forward, backward);
      communicate(reductions_);
      break;
    }
    case CellKind::kFI:
      throw InputError("F&I cells cannot be lowered yet: split them into F and I");
  }
}

}  // namespace orrery
