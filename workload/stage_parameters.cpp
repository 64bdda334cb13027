#include "workload/stage_parameters.hpp"

#include <algorithm>

#include "workload/parameters.hpp"

namespace orrery {
namespace {

// The projections to the latents of one MLA layer, with the latents' norms.
double latent_parameters(const Model& model) {
  const Attention& a = model.attention;
  if (a.kind != AttentionKind::kMla) return 0;
  return static_cast<double>(model.hidden) * (a.q_lora_rank + a.kv_lora_rank + a.qk_rope_dim) +
         a.q_lora_rank + a.kv_lora_rank;
}

}  // namespace

RankParameters rank_parameters(const Model& model, const Layout& layout, const Schedule& schedule,
                               Rank rank) {
  const ParameterCounts counts = parameter_counts(model);
  RankParameters result;
  bool embedding = false;
  bool head = false;
  // The MLA down-projections run on tokens / tp (workload/shard.hpp), so every tensor-parallel rank
  // has all of them.
  const double whole = latent_parameters(model);
  const double attention = whole + (counts.attention - whole) / layout.tp;
  const auto add_attention = [&] {
    result.dense += attention + counts.layer_norms;
    result.quantised += attention;
  };
  const auto add_experts = [&] {
    const double routed = counts.expert * model.moe.experts / layout.ep / layout.etp;
    const double shared = counts.expert * model.moe.shared_experts / layout.tp;
    result.expert += routed;
    result.dense += shared + counts.router;
    result.quantised += routed + shared;
  };
  for (const ChunkPlace& chunk : schedule.chunks[rank.index()]) {
    for (LayerKind kind : layout.stage_map[chunk.stage.index()]) {
      switch (kind) {
        case LayerKind::kEmbedding: embedding = true; break;
        case LayerKind::kDense:
          add_attention();
          result.dense += counts.dense_mlp / layout.tp;
          result.quantised += counts.dense_mlp / layout.tp;
          break;
        case LayerKind::kMoe:
          add_attention();
          add_experts();
          break;
        case LayerKind::kMtp:
          add_attention();
          add_experts();
          result.dense += counts.mtp_projection;
          result.quantised += counts.mtp_projection;
          embedding = head = true;
          break;
        case LayerKind::kHead:
          head = true;
          result.dense += counts.final_norm;
          break;
      }
    }
  }
  const int copies = model.tied_embeddings ? (embedding || head) : embedding + head;
  result.dense += copies * counts.embedding / layout.tp;
  result.dense_replicas = layout.dp * layout.cp * schedule.directions;
  result.expert_replicas =
      std::max(1, layout.dp * layout.cp * layout.tp / (layout.ep * layout.etp)) *
      schedule.directions;
  return result;
}

}  // namespace orrery
