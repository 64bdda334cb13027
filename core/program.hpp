#pragma once
// A Program: what every pipeline rank does in one training step, as ordered instruction lists, one
// per stream. `workload::lower` makes it from a Plan; `sim` carries it out on a modelled cluster
// and `realrun` on real kernels. It holds no durations: those come from a CostSource.
//
// Semantics of carrying out. The instructions of one (rank, stream) run in list order, one at a
// time. An instruction starts when its predecessor on the stream has ended, all its `deps` have
// ended and, for a send, its matching recv has been reached on the other rank too (both then run
// for the length of the transfer); the members of a collective start together. Buffers are
// allocated when their instruction starts and freed when it ends.
//
// Size: DeepSeek-V3's step (16 ranks, 120 micro-batches) has about 10^5 instructions, 16 MB.
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/ids.hpp"
#include "core/op.hpp"
#include "core/quantity.hpp"

namespace orrery {

enum class Stream : std::uint8_t {
  kCompute,   // kernels
  kComm,      // expert-parallel exchanges and collectives
  kSendNext,  // pipeline transfers to rank + 1
  kSendPrev,  // pipeline transfers to rank - 1
  kRecvNext,  // from rank + 1
  kRecvPrev,  // from rank - 1
};
inline constexpr int kStreams = 6;

// The part of a chunk that a piece of work belongs to.
enum class Component : std::uint8_t {
  kEmbedding,
  kAttention,
  kDispatch,
  kMlp,
  kCombine,
  kMtpProjection,
  kHead,
  kPipeline,
  kGradientReduce,
  kOptimizer,
  kParameterGather,
  kTensorParallel,
  kContextParallel,
};

// How bytes move. Each pattern has its own achieved rate in the calibration.
enum class Pattern : std::uint8_t {
  kNone,             // compute
  kDispatch,         // node-limited EP dispatch, layout computed first
  kDispatchCached,   // the same kernel with a known layout: the gradient of combine
  kCombine,          // EP combine: the output of the experts
  kCombineGradient,  // the same kernel: the gradient of dispatch
  kSend,             // point to point between pipeline neighbours
  kReduceScatter,
  kAllGather,
  kAllReduce,
};

// Communication of one GPU: what it puts on its NIC and on its NVLink port in one direction (the
// other direction carries as much), and the bytes the published rates of the pattern are stated in.
struct Wire {
  Pattern pattern = Pattern::kNone;
  int group = 1;  // GPUs that take part
  Bytes logical;  // EP: one copy per target node, the local node included (DeepEP's convention)
  Bytes nic;
  Bytes nvlink;
  int in_node = 1;  // of the GPUs of a collective, in each node
  // An exchange by NCCL's all-to-all: at the rates of transports, not of kernels of its own.
  bool all_to_all = false;
  bool operator==(const Wire&) const = default;
};

// Parameters that the same GPUs hold and whose gradients are therefore reduced together
// (workload/stage_parameters.hpp).
enum class ParameterSet : std::uint8_t {
  kNone,
  kExpert,      // routed experts
  kDense,       // what tensor parallelism divides, and all but the experts without it
  kReplicated,  // what every tensor-parallel GPU holds whole: norms, router, latent projections
  kEmbedding,   // the embedding, where stages that do not mirror each other hold it
  kHead,        // the output head, likewise
};

// A distinct piece of work; instructions refer to it by WorkId.
struct Work {
  Component component = Component::kAttention;
  Pass pass = Pass::kF;
  std::string name;         // "attn(F)"
  std::vector<Op> ops;      // empty for communication
  Wire wire;                // pattern kNone for compute
  std::string tensor = {};  // what a collective inside a layer moves: "latents"; else empty
  ParameterSet parameters = ParameterSet::kNone;  // of gradient reductions and parameter gathers
  bool operator==(const Work&) const = default;

  bool is_compute() const { return wire.pattern == Pattern::kNone; }
};

enum class BufferKind : std::uint8_t {
  kActivation,            // made in F, freed after I
  kActivationForWeights,  // made in F, freed after W
  kWeightGradientInput,   // made in I, freed after W
  kCommunication,         // what was received from another stage, until it has been read
};

// What one micro-batch keeps of one entry of a stage map.
struct Buffer {
  BufferKind kind = BufferKind::kActivation;
  Bytes bytes;
  Stage stage = {};
  std::int16_t direction = 0;
  std::int16_t layer = -1;  // as in Instruction; -1 for what was received
  Microbatch microbatch = {};
  bool operator==(const Buffer&) const = default;
};

struct Instruction {
  InstructionId id;
  WorkId work;
  Rank rank;
  Stream stream = Stream::kCompute;
  bool overlapped = false;    // computation and communication run at the same time
  std::int16_t lent_sms = 0;  // SMs that communication takes from compute while this runs
  std::int32_t cell = -1;     // index of the schedule's cell on this rank; -1 in the optimizer step
  Stage stage;
  std::int16_t direction = 0;
  std::int16_t layer = -1;  // entry of the stage map within the stage
  Microbatch microbatch;
  InstructionId partner;  // send: its recv; recv: its send
  std::int32_t collective =
      -1;  // index into Program::collectives where ranks of the pipeline take part together
  std::uint32_t first_dep = 0, last_dep = 0;      // range of Program::deps
  std::uint32_t first_event = 0, last_event = 0;  // range of Program::buffer_events
};

struct BufferEvent {
  std::int32_t buffer = -1;  // index into Program::buffers
  bool alloc = true;         // else free
};

struct Program {
  int pp = 0;
  std::vector<Work> works;
  std::vector<Instruction> instructions;  // by id
  std::vector<InstructionId> deps;
  std::vector<Buffer> buffers;
  std::vector<BufferEvent> buffer_events;
  // Instructions of different pipeline ranks that start together, when the last of them is ready.
  std::vector<std::vector<InstructionId>> collectives;
  // streams[rank][stream]: instructions in order of execution.
  std::vector<std::array<std::vector<InstructionId>, kStreams>> streams;

  const Work& work(const Instruction& instruction) const { return works[instruction.work.index()]; }
  std::span<const InstructionId> deps_of(const Instruction& instruction) const {
    return std::span(deps).subspan(instruction.first_dep,
                                   instruction.last_dep - instruction.first_dep);
  }
  std::span<const BufferEvent> events_of(const Instruction& instruction) const {
    return std::span(buffer_events)
        .subspan(instruction.first_event, instruction.last_event - instruction.first_event);
  }
};

std::string_view to_string(Stream stream);
std::string_view to_string(Component component);
std::string_view to_string(Pattern pattern);
std::string_view to_string(ParameterSet set);
std::string_view to_string(BufferKind kind);

}  // namespace orrery
