#include "realrun/rank_state.hpp"

#include "core/error.hpp"

namespace orrery {
namespace {

constexpr std::array<const char*, static_cast<std::size_t>(Param::kCount)> kParameterNames = {
    "attention.norm",
    "attention.q_down",
    "attention.q_norm",
    "attention.q_up",
    "attention.q_proj",
    "attention.kv_down",
    "attention.kv_norm",
    "attention.kv_up",
    "attention.o_proj",
    "experts.norm",
    "experts.router",
    "experts.{} fc1",
    "experts.{} fc2",
    "experts.shared fc1",
    "experts.shared fc2",
    "mlp.norm",
    "mlp.fc1",
    "mlp.fc2",
    "hidden norm",
    "embedding norm",
    "projection",
    "final norm",
    "embedding weight",
    "head weight"};

std::int64_t padded(std::int64_t elements, int replicas) {
  return (elements + replicas - 1) / replicas * replicas;
}

}  // namespace

Sizes::Sizes(const Plan& plan, const GpuPlace& place) {
  const Model& model = plan.model;
  const Layout& layout = plan.layout;
  const Attention& a = model.attention;
  sequences = layout.micro_batch;
  length = plan.training.sequence;
  tokens = sequences * length;
  local = tokens / layout.tp;
  hidden = model.hidden;
  heads = a.heads / layout.tp;
  q_rank = a.q_lora_rank;
  kv_rank = a.kv_lora_rank;
  nope = a.qk_nope_dim;
  rope = a.qk_rope_dim;
  qk = a.qk_dim();
  v = a.v_dim;
  experts = model.moe.experts;
  local_experts = experts / layout.ep;
  first_expert = place.expert * local_experts;
  top_k = model.moe.top_k;
  inter = model.moe.inter / layout.etp;
  shared = std::int64_t{model.moe.inter} * model.moe.shared_experts / layout.tp;
  dense = model.dense_inter / layout.tp;
  vocab = model.vocab / layout.tp;
  first_id = place.tensor * vocab;
}

template <class T>
RankState<T>::RankState(const Plan& plan_of_run, const Recipe& recipe_of_run, int gpu_number,
                        kernels::KernelSet<T>& set)
    : plan(plan_of_run),
      recipe(recipe_of_run),
      gpu(gpu_number),
      place(gpu_place(plan.layout, gpu_number)),
      kernels(set),
      sizes(plan, place),
      parameters(gpu_parameters(plan, place)) {
  for (const HeldGroup& group : parameters.groups) {
    const auto elements = static_cast<std::size_t>(padded(group.elements, group.replicas));
    values.emplace_back(elements, T{});
    gradients.emplace_back(elements, T{});
  }
  contributions.assign(parameters.blocks.size(), 0);
  for (const ParameterBlock& block : parameters.blocks) {
    initialise(block, recipe, values[static_cast<std::size_t>(block.group)].data() + block.offset);
  }
  std::vector<std::int64_t> shards;
  for (std::size_t group = 0; group < values.size(); ++group) {
    const bool sharded = plan.layout.zero_stage >= 1;
    shards.push_back(static_cast<std::int64_t>(values[group].size()) /
                     (sharded ? parameters.groups[group].replicas : 1));
  }
  moments.reset(shards, plan.training.moments == ScalarType::kBf16);
  if (fp8()) quantised = values;
  for (const ChunkPlace& chunk : plan.schedule.chunks[static_cast<std::size_t>(place.pipeline)]) {
    const std::vector<LayerKind>& entries = plan.layout.stage_map[chunk.stage.index()];
    for (std::size_t layer = 0; layer < entries.size(); ++layer) {
      const auto unit = std::pair{chunk.stage, static_cast<int>(layer)};
      const std::string prefix = unit_name(plan.layout, chunk.stage, unit.second);
      auto& weights = weights_[unit];
      for (std::size_t param = 0; param < kParameterNames.size(); ++param) {
        std::string name = fmt::format(fmt::runtime(kParameterNames[param]), sizes.first_expert);
        const bool vocabulary = param >= static_cast<std::size_t>(Param::kEmbedding);
        const int block = parameters.find(vocabulary ? name : prefix + " " + name);
        if (block < 0) continue;
        const ParameterBlock& held = parameters.blocks[static_cast<std::size_t>(block)];
        const auto group = static_cast<std::size_t>(held.group);
        weights[param] = {values[group].data() + held.offset, gradients[group].data() + held.offset,
                          (fp8() ? quantised : values)[group].data() + held.offset, block};
      }
      if (entries[layer] == LayerKind::kMoe || entries[layer] == LayerKind::kMtp)
        routing_bias[unit].assign(static_cast<std::size_t>(sizes.experts), T{});
    }
  }
  for (std::int64_t token = 0; token < sizes.tokens; ++token)
    positions.push_back(static_cast<std::int32_t>(token % sizes.length));
  for (std::int64_t token = 0; token < sizes.local; ++token) {
    const std::int64_t place_in_all = place.tensor * sizes.local + token;
    sequence_of_local.push_back(static_cast<std::int32_t>(place_in_all / sizes.length));
  }
  const double batch = plan.training.global_batch;
  loss_scale = 1 / (batch * static_cast<double>(sizes.length));
  sequence_scale = 1 / batch;
}

template <class T>
Frame<T>& RankState<T>::frame(Stage stage, int direction, int layer, Microbatch microbatch) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Frame<T>>& entry = frames_[{stage, direction, layer, microbatch}];
  if (!entry) {
    entry = std::make_unique<Frame<T>>(meter);
    entry->kind = plan.layout.stage_map[stage.index()][static_cast<std::size_t>(layer)];
    entry->stage = stage;
    entry->direction = direction;
    entry->layer = layer;
    entry->microbatch = microbatch;
  }
  return *entry;
}

template <class T>
Frame<T>* RankState<T>::before(const Frame<T>& at) {
  Stage stage = at.stage;
  int layer = at.layer - 1;
  if (layer < 0) {
    stage = Stage(stage.value - 1);
    if (!stage.valid()) return nullptr;
    if (plan.schedule.host(stage, at.direction).rank.value != place.pipeline) return nullptr;
    layer = static_cast<int>(plan.layout.stage_map[stage.index()].size()) - 1;
  }
  return &frame(stage, at.direction, layer, at.microbatch);
}

template <class T>
Frame<T>* RankState<T>::after(const Frame<T>& at) {
  Stage stage = at.stage;
  int layer = at.layer + 1;
  if (layer >= static_cast<int>(plan.layout.stage_map[stage.index()].size())) {
    stage = Stage(stage.value + 1);
    if (stage.value >= plan.schedule.stages()) return nullptr;
    if (plan.schedule.host(stage, at.direction).rank.value != place.pipeline) return nullptr;
    layer = 0;
  }
  return &frame(stage, at.direction, layer, at.microbatch);
}

template <class T>
Weight<T>& RankState<T>::weight(const Frame<T>& at, Param param) {
  Weight<T>& found = weights_.at({at.stage, at.layer})[static_cast<std::size_t>(param)];
  ORRERY_CHECK(found.block >= 0, "stage {} layer {} has no {}", at.stage.value, at.layer,
               kParameterNames[static_cast<std::size_t>(param)]);
  return found;
}

template <class T>
T* RankState<T>::gradient(const Frame<T>& at, Param param, int count) {
  Weight<T>& found = weight(at, param);
  for (int block = 0; block < count; ++block)
    ++contributions[static_cast<std::size_t>(found.block + block)];
  return found.gradient;
}

template <class T>
typename RankState<T>::Inbox& RankState<T>::inbox(Stage stage, int direction, Microbatch microbatch,
                                                  bool activation) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<Inbox>& entry = inboxes_[{stage, direction, microbatch, activation}];
  if (!entry) entry = std::make_unique<Inbox>(meter);
  return *entry;
}

template <class T>
Lifetime& RankState<T>::lifetime(const Buffer& buffer, bool activation) {
  if (buffer.kind == BufferKind::kCommunication)
    return inbox(buffer.stage, buffer.direction, buffer.microbatch, activation).lifetime;
  return frame(buffer.stage, buffer.direction, buffer.layer, buffer.microbatch).of(buffer.kind);
}

template <class T>
void RankState<T>::take_input(Frame<T>& at, Tensor<T>& target, Lifetime& into) {
  if (Frame<T>* previous = before(at); previous != nullptr) {
    target.take(into, previous->out);
  } else {
    target.take(into, inbox(at.stage, at.direction, at.microbatch, true).tensor);
  }
}

template <class T>
void RankState<T>::take_output_gradient(Frame<T>& at, Tensor<T>& target, Lifetime& into) {
  if (Frame<T>* next = after(at); next != nullptr) {
    target.take(into, next->in_gradient);
  } else {
    target.take(into, inbox(at.stage, at.direction, at.microbatch, false).tensor);
  }
}

template <class T>
void RankState<T>::begin_step(std::vector<MicrobatchTokens> data) {
  step_tokens = std::move(data);
  for (std::vector<T>& group : gradients) std::fill(group.begin(), group.end(), T{});
  std::fill(contributions.begin(), contributions.end(), 0);
  step_expert_counts.clear();
  step_end = {std::vector<char>(values.size(), 0), std::vector<char>(values.size(), 0)};
  if (fp8()) quantise_weights();
  for (auto& [key, entry] : frames_) {
    entry->reset();
    entry->loss = entry->balance_loss = 0;
  }
  for (auto& [key, entry] : inboxes_) entry->lifetime.reset();
}

// What FP8 GEMMs read: 128x128 blocks of every matrix, as this GPU holds it.
template <class T>
void RankState<T>::quantise_weights() {
  for (const ParameterBlock& block : parameters.blocks) {
    if (block.is_norm) continue;
    const auto group = static_cast<std::size_t>(block.group);
    kernels.quantise({block.held_rows(), block.columns_held.count}, kernels::Tiles::kBlocks,
                     values[group].data() + block.offset, quantised[group].data() + block.offset);
  }
}

template class RankState<float>;
template class RankState<double>;

}  // namespace orrery
