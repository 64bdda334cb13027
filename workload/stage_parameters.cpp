#include "workload/stage_parameters.hpp"

#include <algorithm>

#include "workload/parameters.hpp"

namespace orrery {

RankParameters rank_parameters(const Model& model, const Layout& layout, const Schedule& schedule, Rank rank) {
  const ParameterCounts counts = parameter_counts(model);
  RankParameters result;
  bool embedding = false;
  bool head = false;
  const auto add_attention = [&] {
    result.dense += counts.attention / layout.tp + counts.layer_norms;
    result.quantised += counts.attention / layout.tp;
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
      std::max(1, layout.dp * layout.cp * layout.tp / (layout.ep * layout.etp)) * schedule.directions;
  return result;
}

}  // namespace orrery
