#include "workload/stage_parameters.hpp"

#include <algorithm>
#include <array>
#include <optional>

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

// Within a pipeline rank.
int dense_replicas(const Layout& layout) {
  return layout.dp * layout.cp;
}
int expert_replicas(const Layout& layout) {
  return std::max(1, layout.dp * layout.cp * layout.tp / (layout.ep * layout.etp));
}

bool reads_embedding(const Model& model, LayerKind kind) {
  return kind == LayerKind::kEmbedding || kind == LayerKind::kMtp ||
         (kind == LayerKind::kHead && model.tied_embeddings);
}
bool reads_head(const Model& model, LayerKind kind) {
  return !model.tied_embeddings && (kind == LayerKind::kHead || kind == LayerKind::kMtp);
}

// The ranks that hold a matrix which entries of these kinds read.
std::vector<Rank> holders(const Model& model, const StageMap& map, const Schedule& schedule,
                          bool (*reads)(const Model&, LayerKind)) {
  std::vector<Rank> ranks;
  for (int rank = 0; rank < schedule.pp(); ++rank) {
    const std::vector<ChunkPlace>& chunks = schedule.chunks[static_cast<std::size_t>(rank)];
    const bool holds = std::any_of(chunks.begin(), chunks.end(), [&](const ChunkPlace& chunk) {
      const std::vector<LayerKind>& entries = map[chunk.stage.index()];
      return std::any_of(entries.begin(), entries.end(),
                         [&](LayerKind kind) { return reads(model, kind); });
    });
    if (holds) ranks.push_back(Rank(rank));
  }
  return ranks;
}

// A matrix that only ranks which mirror each other hold is reduced with what else they hold.
bool apart(const std::vector<std::vector<Rank>>& mirrored, const std::vector<Rank>& ranks) {
  return ranks.size() > 1 && std::find(mirrored.begin(), mirrored.end(), ranks) == mirrored.end();
}

}  // namespace

EntryParameters entry_parameters(const Model& model, const Layout& layout, LayerKind kind) {
  const ParameterCounts counts = parameter_counts(model);
  EntryParameters entry;
  // The MLA down-projections run on tokens / tp (workload/shard.hpp), so every tensor-parallel rank
  // has all of them.
  const double whole = latent_parameters(model);
  const double attention = whole + (counts.attention - whole) / layout.tp;
  const auto add_attention = [&] {
    entry.dense += attention + counts.layer_norms;
    entry.replicated += whole + counts.layer_norms;
    entry.quantised += attention;
    entry.quantised_replicated += whole;
  };
  const auto add_experts = [&] {
    const double routed = counts.expert * model.moe.experts / layout.ep / layout.etp;
    const double shared = counts.expert * model.moe.shared_experts / layout.tp;
    entry.expert += routed;
    entry.dense += shared + counts.router;
    entry.replicated += counts.router;
    entry.quantised += routed + shared;
  };
  const double matrix = counts.embedding / layout.tp;
  const auto add_head = [&] { (model.tied_embeddings ? entry.embedding : entry.head) = matrix; };
  switch (kind) {
    case LayerKind::kEmbedding: entry.embedding = matrix; break;
    case LayerKind::kDense:
      add_attention();
      entry.dense += counts.dense_mlp / layout.tp;
      entry.quantised += counts.dense_mlp / layout.tp;
      break;
    case LayerKind::kMoe:
      add_attention();
      add_experts();
      break;
    case LayerKind::kMtp:
      add_attention();
      add_experts();
      entry.dense += counts.mtp_projection;
      entry.replicated += counts.mtp_projection;
      entry.quantised += counts.mtp_projection;
      entry.quantised_replicated += counts.mtp_projection;
      entry.embedding = matrix;
      add_head();
      break;
    case LayerKind::kHead:
      entry.dense += counts.final_norm;
      entry.replicated += counts.final_norm;
      add_head();
      break;
  }
  if (layout.tp == 1) entry.replicated = entry.quantised_replicated = 0;
  return entry;
}

RankParameters rank_parameters(const Model& model, const Layout& layout, const Schedule& schedule,
                               Rank rank) {
  RankParameters result;
  std::array<std::optional<EntryParameters>, 5> known;  // by kind: most entries are alike
  for (const ChunkPlace& chunk : schedule.chunks[rank.index()]) {
    for (LayerKind kind : layout.stage_map[chunk.stage.index()]) {
      std::optional<EntryParameters>& of_kind = known[static_cast<std::size_t>(kind)];
      if (!of_kind) of_kind = entry_parameters(model, layout, kind);
      const EntryParameters& entry = *of_kind;
      result.expert += entry.expert;
      result.dense += entry.dense;
      result.replicated += entry.replicated;
      result.quantised += entry.quantised;
      result.embedding = std::max(result.embedding, entry.embedding);
      result.head = std::max(result.head, entry.head);
    }
  }
  result.dense += result.embedding + result.head;
  result.dense_replicas = dense_replicas(layout) * schedule.directions;
  result.expert_replicas = expert_replicas(layout) * schedule.directions;
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
  const std::vector<std::vector<Rank>> mirrored = mirrored_ranks(schedule);
  const std::vector<Rank> embedding = holders(model, layout.stage_map, schedule, reads_embedding);
  const std::vector<Rank> head = holders(model, layout.stage_map, schedule, reads_head);
  const bool embedding_apart = apart(mirrored, embedding), head_apart = apart(mirrored, head);
  std::vector<ParameterGroup> groups;
  for (const std::vector<Rank>& ranks : mirrored) {
    const RankParameters& own = all[ranks.front().index()];
    const double rest = own.dense - own.replicated - (embedding_apart ? own.embedding : 0) -
                        (head_apart ? own.head : 0);
    if (own.expert > 0)
      groups.push_back({ParameterSet::kExpert, own.expert, ranks, own.expert_replicas});
    if (rest > 0) groups.push_back({ParameterSet::kDense, rest, ranks, own.dense_replicas});
    if (own.replicated > 0) {
      groups.push_back(
          {ParameterSet::kReplicated, own.replicated, ranks, own.dense_replicas * layout.tp});
    }
  }
  const auto add_shared = [&](ParameterSet set, const std::vector<Rank>& ranks,
                              double RankParameters::*part) {
    groups.push_back({set, all[ranks.front().index()].*part, ranks,
                      dense_replicas(layout) * static_cast<int>(ranks.size())});
  };
  if (embedding_apart) add_shared(ParameterSet::kEmbedding, embedding, &RankParameters::embedding);
  if (head_apart) add_shared(ParameterSet::kHead, head, &RankParameters::head);
  return groups;
}

SharedMatrices shared_matrices(const Model& model, const StageMap& map, const Schedule& schedule) {
  const std::vector<std::vector<Rank>> mirrored = mirrored_ranks(schedule);
  return {apart(mirrored, holders(model, map, schedule, reads_embedding)),
          apart(mirrored, holders(model, map, schedule, reads_head))};
}

std::vector<EntryGroup> entry_groups(const Model& model, const Layout& layout, LayerKind kind,
                                     SharedMatrices shared) {
  const EntryParameters own = entry_parameters(model, layout, kind);
  const double dense = own.dense - own.replicated + (shared.embedding ? 0 : own.embedding) +
                       (shared.head ? 0 : own.head);
  std::vector<EntryGroup> groups;
  if (own.expert > 0) {
    groups.push_back({ParameterSet::kExpert, own.expert, own.expert, expert_replicas(layout)});
  }
  if (dense > 0) {
    const double quantised = own.quantised - own.expert - own.quantised_replicated;
    groups.push_back({ParameterSet::kDense, dense, quantised, dense_replicas(layout)});
  }
  if (own.replicated > 0) {
    groups.push_back({ParameterSet::kReplicated, own.replicated, own.quantised_replicated,
                      dense_replicas(layout) * layout.tp});
  }
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
