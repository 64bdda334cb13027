#pragma once
// Parameters that one GPU of a pipeline rank holds, and the groups over which their gradients are
// reduced.
#include <span>
#include <vector>

#include "core/layout.hpp"
#include "core/model.hpp"
#include "core/program.hpp"
#include "core/schedule.hpp"

namespace orrery {

// Split by the group that replicates them.
struct RankParameters {
  double expert = 0;  // routed experts of this GPU
  double dense =
      0;  // all else: attention, shared experts, dense MLPs, router, norms, embedding, head
  // Parts of `dense`: held whole by every tensor-parallel GPU; the embedding; the output head
  // (tied: one matrix, counted as embedding).
  double replicated = 0;
  double embedding = 0;
  double head = 0;
  double quantised = 0;     // of all, those that FP8 GEMMs read
  int expert_replicas = 1;  // GPUs that hold the same experts
  int dense_replicas = 1;   // GPUs that hold the same dense parameters
};

// What one GPU needs for an entry of a stage map, by the same split; embedding and head are those
// that the entry reads, whoever else does (tied: the embedding alone).
struct EntryParameters {
  double expert = 0;
  double dense = 0;  // without embedding and head
  double replicated = 0;
  double embedding = 0;
  double head = 0;
  double quantised = 0;             // of all, those that FP8 GEMMs read
  double quantised_replicated = 0;  // of those, what every tensor-parallel GPU holds whole
};
EntryParameters entry_parameters(const Model& model, const Layout& layout, LayerKind kind);

// All stages that `rank` hosts in `schedule`. Embedding and head are counted once on a rank that
// needs them both for the main model and for MTP (DeepSeek-V3 report, section 3.2.3). In a
// bidirectional schedule each stage lives on two mirrored ranks, which doubles the replicas.
RankParameters rank_parameters(const Model& model, const Layout& layout, const Schedule& schedule,
                               Rank rank);

// Ranks that hold the same stages: r and pp - 1 - r in a bidirectional schedule, each alone
// otherwise.
std::vector<std::vector<Rank>> mirrored_ranks(const Schedule& schedule);

// Parameters with the pipeline ranks that hold them together: mirrored ranks of a bidirectional
// schedule, a rank alone otherwise; for the embedding or the head, where MTP needs it on a stage
// that does not mirror the first or last one, all ranks with a copy.
struct ParameterGroup {
  ParameterSet set = ParameterSet::kDense;
  double parameters = 0;    // that one GPU holds
  std::vector<Rank> ranks;  // ascending
  int replicas = 1;         // GPUs that hold the same ones, over all of `ranks`
};

// Which matrices are not reduced with what else their ranks hold, since ranks that do not mirror
// each other hold them.
struct SharedMatrices {
  bool embedding = false;
  bool head = false;
  auto operator<=>(const SharedMatrices&) const = default;
};
SharedMatrices shared_matrices(const Model& model, const StageMap& map, const Schedule& schedule);

// Those of every rank, in the order in which their gradients are reduced. Together they are all of
// rank_parameters, none twice.
std::vector<ParameterGroup> parameter_groups(const Model& model, const Layout& layout,
                                             const Schedule& schedule);

// Of one entry, what its GPUs hold together, where each stage lies on one pipeline rank: what ZeRO
// stages 2 and 3 divide. Shared matrices are left out.
struct EntryGroup {
  ParameterSet set = ParameterSet::kDense;
  double parameters = 0;  // of one GPU, if they are not divided
  double quantised = 0;   // of these, those that FP8 GEMMs read
  int replicas = 1;
};
std::vector<EntryGroup> entry_groups(const Model& model, const Layout& layout, LayerKind kind,
                                     SharedMatrices shared);

// Parameters that one GPU of `rank` updates: with ZeRO its share of every group, without all.
double optimizer_shard(std::span<const ParameterGroup> groups, Rank rank, bool sharded);

}  // namespace orrery
