#pragma once
// Private to the lowering: writes the instructions of one rank's cells into the Program.
#include <array>
#include <map>
#include <span>
#include <tuple>
#include <vector>

#include "core/plan.hpp"
#include "core/program.hpp"
#include "workload/placement.hpp"
#include "workload/unit_set.hpp"
#include "workload/zero_works.hpp"

namespace orrery {

// A transfer between two stages: an activation to the next stage or a gradient to the one before.
struct StageTransfer {
  int direction = 0;
  Stage from;
  Stage to;
  Microbatch microbatch;
  auto operator<=>(const StageTransfer&) const = default;
};

// What all ranks share while a plan is lowered.
struct LoweringContext {
  const Plan& plan;
  const UnitSet& set;
  const ZeroWorks& zero;
  Placement placement;
  std::map<StageTransfer, InstructionId> sends;  // filled as ranks are emitted
  std::map<StageTransfer, InstructionId> recvs;
};

class RankEmitter {
 public:
  RankEmitter(Program& program, LoweringContext& context, Rank rank);

  void emit(const Cell& cell, int cell_index);
  // One instruction outside of all cells, behind everything emitted so far on both streams.
  InstructionId emit_closing(WorkId work, Stream stream);

 private:
  struct Unit {
    const UnitWorks* works = nullptr;
    const ZeroUnit* zero = nullptr;  // none below ZeRO-2
    std::int16_t layer = 0;
  };
  // One micro-batch going through one chunk in one direction, as far as it has come.
  struct Flow {
    Half half;
    ChunkPlace place;
    std::vector<Unit> units;  // in order of execution
    InstructionId tail;       // last instruction of the data flow
    bool forward = true;
    std::size_t begun = 0;  // of `units`
    // The last gathering of the weights of the unit that runs, until a kernel of it has waited for
    // it, and of the one behind it.
    InstructionId gathered = {}, gathered_ahead = {};
    InstructionId room = {};  // the reduction that has to end before W fills gradients again
    std::int32_t inbox =
        -1;  // buffer of what was received, until the first instruction has read it
  };
  struct LayerBuffers {
    std::int32_t until_input_gradient = -1, until_weight_gradient = -1, weight_operands = -1;
    // Of the embedding on a stage of its own, whose I has nothing to compute: what brought the
    // gradient, and its buffer.
    InstructionId message = {};
    std::int32_t inbox = -1;
  };
  // A collective of ZeRO that waits for its place on the communication stream.
  struct Collective {
    WorkId work;
    InstructionId after;
    Flow* flow = nullptr;
    std::int16_t layer = 0;
  };
  using Collectives = std::vector<Collective>;
  using LayerKey =
      std::tuple<std::int32_t, std::int32_t, std::int16_t>;  // micro-batch, chunk, layer

  Flow start(const Half& half, bool forward);
  // Sends the flow's output to the stage `step` further on (1: activation, -1: gradient), if there
  // is one.
  void finish(const Flow& flow, int step);
  void forward_unit(Flow& flow, const Unit& unit);
  void input_gradient_unit(Flow& flow, const Unit& unit, bool with_weights);
  void weight_gradient_unit(Flow& flow, const Unit& unit);
  void recompute_unit(Flow& flow, const Unit& unit);
  void emit_pair(Flow& forward, Flow& backward);
  void pair_slot(Flow* forward, const Unit* forward_unit, Flow* backward,
                 const Unit* backward_unit);
  // A chain of works after the flow's tail; the tail moves to its end.
  void run(Flow& flow, const Unit& unit, std::span<const WorkId> chain);
  // Weight gradients: behind what the compute stream has, and behind `after`; the tail stays. The
  // last of them, or `after`.
  InstructionId run_beside(Flow& flow, const Unit& unit, const Chain& chain,
                           InstructionId after = InstructionId());
  InstructionId add(WorkId work, Stream stream, std::span<const InstructionId> deps,
                    const Flow* flow, std::int16_t layer);
  void receive(Flow& flow, int step);
  std::int32_t new_buffer(BufferKind kind, Bytes bytes, const Flow& flow, std::int16_t layer);
  void attach(InstructionId id, std::int32_t buffer, bool alloc);
  // The id the next instruction will get.
  InstructionId next_id() const {
    return InstructionId(static_cast<std::int64_t>(program_.instructions.size()));
  }
  LayerBuffers& layer_buffers(const Flow& flow, const Unit& unit);
  void begin_forward(const Flow& flow, const Unit& unit);
  // The operands of the weight gradients are made by the unit's first instruction, or by the last
  // one before it where the unit has no input gradient of its own (the embedding).
  void begin_input_gradient(Flow& flow, const Unit& unit);
  // Before the weight gradient: what brought its operands, if a message did.
  InstructionId take_message(const Flow& flow, const Unit& unit);
  void end_input_gradient(const Flow& flow, const Unit& unit);
  void end_weight_gradient(const Flow& flow, const Unit& unit);
  bool chunk_exchanges(const Flow& flow) const;

  // ZeRO stages 2 and 3 (zero_emitter.cpp); without effect below.
  void gather_first(Flow& flow);
  void begin_unit(Flow& flow, const Unit& unit);
  void quantise_weights(Flow& flow, const Unit& unit);
  void end_unit();
  void reduce_gradients(Flow& flow, const Unit& unit);
  // The same as run(), with collectives beside its computation.
  void run_beside_collectives(Flow& flow, const Unit& unit, const Chain& chain,
                              Collectives& waiting);
  void communicate(Collectives& waiting);

  Program& program_;
  LoweringContext& context_;
  Rank rank_;
  int cell_index_ = -1;
  bool overlapped_ =
      false;  // what is emitted runs beside communication, or communication beside it
  bool collectives_beside_ = false;  // collectives of ZeRO run beside what is computed
  Collectives gathers_, reductions_;
  InstructionId reduced_;                             // the last reduction of the cell so far
  std::array<InstructionId, kStreams> tail_{};        // last instruction of each stream
  std::array<InstructionId, kStreams> cell_entry_{};  // the tails when the cell began
  std::array<bool, kStreams> entered_{};              // whether the cell has used the stream yet
  std::map<LayerKey, LayerBuffers> buffers_;
  std::vector<std::pair<InstructionId, BufferEvent>> events_;

 public:
  // Buffer events in order of emission, to be laid out in the Program when all ranks are emitted.
  const std::vector<std::pair<InstructionId, BufferEvent>>& events() const { return events_; }
};

}  // namespace orrery
