#pragma once
// One rank of a real run: its parameters, gradients, optimizer state, the frames of the
// micro-batches in flight, and the data of the step. Kernels work on it through the ops of
// realrun/host_ops.hpp.
//
// Shared by the rank's two workers. Parameters, gradients and counts are touched by the compute
// worker alone until the gradient reduction; frames pass from one to the other along the Program's
// dependencies.
#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <tuple>
#include <vector>

#include "core/plan.hpp"
#include "kernels/kernel_set.hpp"
#include "realrun/frame.hpp"
#include "realrun/moments.hpp"
#include "realrun/parameters.hpp"
#include "realrun/recipe.hpp"
#include "realrun/routing_log.hpp"
#include "workload/world.hpp"

namespace orrery {

// The matrices and vectors of a unit, in the order of kParameterNames.
enum class Param : std::uint8_t {
  kAttentionNorm,
  kQueryDown,
  kQueryNorm,
  kQueryUp,
  kQueryProjection,
  kKeyDown,
  kKeyNorm,
  kKeyUp,
  kOutput,
  kExpertsNorm,
  kRouter,
  kExpertFc1,  // of the first local expert; the others follow
  kExpertFc2,
  kSharedFc1,
  kSharedFc2,
  kMlpNorm,
  kFc1,
  kFc2,
  kHiddenNorm,
  kEmbeddingNorm,
  kProjection,
  kFinalNorm,
  kEmbedding,
  kHead,
  kCount
};

template <class T>
struct Weight {
  T* value = nullptr;
  T* gradient = nullptr;
  T* quantised = nullptr;  // what FP8 GEMMs read; the values themselves in other precisions
  int block = -1;
};

// Sizes of this GPU's share, in elements (realrun/frame.hpp).
struct Sizes {
  Sizes(const Plan& plan, const GpuPlace& place);
  std::int64_t sequences, length, tokens, local, hidden;
  std::int64_t heads, q_rank, kv_rank, nope, rope, qk, v;
  std::int64_t experts, local_experts, first_expert, top_k, inter, shared, dense;
  std::int64_t vocab, first_id;
};

// The token ids of a micro-batch, each [tokens]: input, next token, the one after that.
struct MicrobatchTokens {
  std::vector<std::int32_t> inputs, targets, mtp_targets;
};

template <class T>
class RankState {
 public:
  // `set`: what its ops are carried out with; outlives it.
  RankState(const Plan& plan, const Recipe& recipe, int gpu, kernels::KernelSet<T>& set);

  // Frames, by stage, direction, layer and micro-batch of an instruction.
  Frame<T>& frame(Stage stage, int direction, int layer, Microbatch microbatch);
  // The frame whose output is the input of `frame`: the entry before it, maybe on another chunk of
  // this rank; nothing where it comes from another rank or is the first.
  Frame<T>* before(const Frame<T>& frame);
  Frame<T>* after(const Frame<T>& frame);
  Weight<T>& weight(const Frame<T>& frame, Param param);
  // Says that a micro-batch's gradient of the weight was added.
  T* gradient(const Frame<T>& frame, Param param, int contributions = 1);

  // What came from another rank for (stage, direction, micro-batch): an activation or a gradient.
  struct Inbox {
    explicit Inbox(MemoryMeter& meter)
        : lifetime(to_string(BufferKind::kCommunication).data(), meter) {}
    Lifetime lifetime;
    Tensor<T> tensor{"received tensor"};
  };
  Inbox& inbox(Stage stage, int direction, Microbatch microbatch, bool activation);

  // The lifetime of a buffer of the Program.
  Lifetime& lifetime(const Buffer& buffer, bool activation);

  // Moves the input (or the output's gradient) of `frame` to `target`.
  void take_input(Frame<T>& frame, Tensor<T>& target, Lifetime& lifetime);
  void take_output_gradient(Frame<T>& frame, Tensor<T>& target, Lifetime& lifetime);

  const MicrobatchTokens& tokens(Microbatch microbatch) const {
    return step_tokens[microbatch.index()];
  }
  // What a second forward makes is for the backward.
  bool keeps_in_backward(const Frame<T>& frame) const {
    return plan.layout.recompute == Recompute::kFull && frame.backward;
  }
  bool fp8() const { return plan.layout.precision == Precision::kFp8; }
  // Where what is "kept until I" lives: with full recompute it is made again and is transient.
  Lifetime& kept(Frame<T>& frame) {
    return plan.layout.recompute == Recompute::kFull ? frame.transient : frame.until_input;
  }
  Lifetime& kept_without_recompute(Frame<T>& frame) {
    return plan.layout.recompute == Recompute::kNone ? frame.until_input : frame.transient;
  }
  Lifetime& kept_for_weights(Frame<T>& frame) {
    if (plan.layout.recompute != Recompute::kFull) return frame.until_weight;
    return frame.backward ? frame.operands : frame.transient;
  }

  void begin_step(std::vector<MicrobatchTokens> data);

  const Plan& plan;
  const Recipe recipe;
  const int gpu;
  const GpuPlace place;
  kernels::KernelSet<T>& kernels;
  const Sizes sizes;
  GpuParameters parameters;
  std::vector<std::vector<T>> values, gradients, quantised;      // by group, padded to its replicas
  std::vector<int> contributions;                                // by block
  std::map<std::pair<Stage, int>, std::vector<T>> routing_bias;  // by stage and layer
  MemoryMeter meter;
  std::vector<MicrobatchTokens> step_tokens;     // by micro-batch
  std::vector<std::int32_t> positions;           // [tokens]
  std::vector<std::int32_t> sequence_of_local;   // [local]
  double loss_scale = 1;                         // of one token: 1 / tokens of the global batch
  double sequence_scale = 1;                     // of one sequence
  double own_squares = 0;                        // of the gradients that this rank owns, this step
  double gradient_norm = 0;                      // of the step, over the whole model
  std::vector<std::int64_t> step_expert_counts;  // of the whole batch, by layer with experts
  // What the group operations of this step's end have done so far.
  struct StepEnd {
    std::vector<char> reduced, gathered;  // by group
    bool normed = false;                  // the gradient norm is that of the whole model
    bool counted = false;                 // the expert counts are those of the whole batch
  } step_end;
  std::int64_t optimizer_steps = 0;
  bool evaluates = false;  // the step changes nothing
  RoutingLog* routing = nullptr;
  Moments<T> moments;
  struct RowsSeen {
    double rows = 0;  // of the local experts, in the last MLP
    double tokens = 0;
  } rows_seen;

  template <class Visit>
  void for_each_frame(Stage stage, int layer, Visit visit) {
    for (auto& [key, frame] : frames_) {
      if (std::get<0>(key) == stage && std::get<2>(key) == layer) visit(*frame);
    }
  }
  template <class Visit>
  void for_each_frame(Visit visit) {
    for (auto& [key, frame] : frames_) visit(*frame);
  }
  template <class Visit>
  void for_each_inbox(Visit visit) {
    for (auto& [key, inbox] : inboxes_) visit(*inbox);
  }

 private:
  void quantise_weights();

  using FrameKey = std::tuple<Stage, int, int, Microbatch>;
  using InboxKey = std::tuple<Stage, int, Microbatch, bool>;
  std::mutex mutex_;  // of the two maps; what they hold is handed on by the Program's order
  std::map<FrameKey, std::unique_ptr<Frame<T>>> frames_;
  std::map<InboxKey, std::unique_ptr<Inbox>> inboxes_;
  std::map<std::pair<Stage, int>, std::array<Weight<T>, static_cast<std::size_t>(Param::kCount)>>
      weights_;
};

extern template class RankState<float>;
extern template class RankState<double>;

}  // namespace orrery
