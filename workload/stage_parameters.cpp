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
  const double replicated_attention = whole + counts.layer_norms;
  const auto add_attention = [&] {
    result.dense += attention + counts.layer_norms;
    result.replicated += replicated_attention;
    result.quantised += attention;
  };
  const auto add_experts = [&] {
    const double routed = counts.expert * model.moe.experts / layout.ep / layout.etp;
    const double shared = counts.expert * model.moe.shared_experts / layout.tp;
    result.expert += routed;
    result.dense += shared + counts.router;
    result.replicated += counts.router;
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
          result.replicated += counts.mtp_projection;
          result.quantised += counts.mtp_projection;
          embedding = head = true;
          break;
        case LayerKind::kHead:
          head = true;
          result.dense += counts.final_norm;
          result.replicated += counts.final_norm;
          break;
      }
    }
  }
  if (model.tied_embeddings) {
    embedding = embedding || head;
    head = false;
  }
  result.embedding = embedding * counts.embedding / layout.tp;
  result.head = head * counts.embedding / layout.tp;
  result.dense += result.embedding + result.head;
  if (layout.tp == 1) result.replicated = 0;
  result.dense_replicas = layout.dp * layout.cp * schedule.directions;
  result.expert_replicas =
      std::max(1, layout.dp * layout.cp * layout.tp / (layout.ep * layout.etp)) *
      schedule.directions;
  return result;
}

std::vector<std::vector<Rank>> mirrored_ranks(const Schedule& schedule) {
  std::vector<std::vector<Rank>> groups;
  const int pp = schedule.pp();
  for (int rank = 0; rank < pp; ++rank) {
    if (schedule.directions == 1) {
      groups.push_back({Rank(rank)});
    } else if (rank < pp / 2) {
      groups.push_back({Rank(rank), Rank(pp - 1 - rank)});
    }
  }
  return groups;
}

std::vector<ParameterGroup> parameter_groups(const Model& model, const Layout& layout,
                                             const Schedule& schedule) {
  std::vector<RankParameters> all;
  for (int rank = 0; rank < schedule.pp(); ++rank)
    all.push_back(rank_parameters(model, layout, schedule, Rank(rank)));
  const auto holders = [&](double RankParameters::*part) {
    std::vector<Rank> ranks;
    for (int rank = 0; rank < schedule.pp(); ++rank) {
      if (all[static_cast<std::size_t>(rank)].*part > 0) ranks.push_back(Rank(rank));
    }
    return ranks;
  };
  const std::vector<std::vector<Rank>> mirrored = mirrored_ranks(schedule);
  // A matrix that only ranks which mirror each other hold is reduced with what else they hold.
  const auto apart = [&](const std::vector<Rank>& ranks) {
    return ranks.size() > 1 && std::find(mirrored.begin(), mirrored.end(), ranks) == mirrored.end();
  };
  const std::vector<Rank> embedding = holders(&RankParameters::embedding);
  const std::vector<Rank> head = holders(&RankParameters::head);
  std::vector<ParameterGroup> groups;
  for (const std::vector<Rank>& ranks : mirrored) {
    const RankParameters& own = all[ranks.front().index()];
    const double rest = own.dense - own.replicated - (apart(embedding) ? own.embedding : 0) -
                        (apart(head) ? own.head : 0);
    if (own.expert > 0)
      groups.push_back({ParameterSet::kExpert, own.expert, ranks, own.expert_replicas});
    if (rest > 0) groups.push_back({ParameterSet::kDense, rest, ranks, own.dense_replicas});
    if (own.replicated > 0) {
      groups.push_back(
          {ParameterSet::kReplicated, own.replicated, ranks, own.dense_replicas * layout.tp});
    }
  }
  const auto shared = [&](ParameterSet set, const std::vector<Rank>& ranks,
                          double RankParameters::*part) {
    if (!apart(ranks)) return;
    groups.push_back({set, all[ranks.front().index()].*part, ranks,
                      layout.dp * layout.cp * static_cast<int>(ranks.size())});
  };
  shared(ParameterSet::kEmbedding, embedding, &RankParameters::embedding);
  shared(ParameterSet::kHead, head, &RankParameters::head);
  return groups;
}

double optimizer_shard(std::span<const ParameterGroup> groups, Rank rank, bool sharded) {
  double sum = 0;
  for (const ParameterGroup& group : groups) {
    if (std::find(group.ranks.begin(), group.ranks.end(), rank) == group.ranks.end()) continue;
    sum += sharded ? group.parameters / group.replicas : group.parameters;
  }
  return sum;
}

}  // namespace orrery
