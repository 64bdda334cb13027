#pragma once
// Parameters that one GPU of a pipeline rank holds, and the groups over which their gradients are
// reduced.
#include <span>
#include <vector>

#include "core/layout.hpp"
#include "core/model.hpp"
#include "core/schedule.hpp"

namespace orrery {

// Split by the group that replicates them.
struct RankParameters {
  double expert = 0;  // routed experts of this GPU
  double dense =
      0;  // all else: attention, shared experts, dense MLPs, router, norms, embedding, head
  double quantised = 0;     // of both, those that FP8 GEMMs read
  int expert_replicas = 1;  // GPUs that hold the same experts
  int dense_replicas = 1;   // GPUs that hold the same dense parameters
};

// All stages that `rank` hosts in `schedule`. Embedding and head are counted once on a rank that
// needs them both for the main model and for MTP (DeepSeek-V3 report, section 3.2.3). In a
// bidirectional schedule each stage lives on two mirrored ranks, which doubles the replicas.
RankParameters rank_parameters(const Model& model, const Layout& layout, const Schedule& schedule,
                               Rank rank);

}  // namespace orrery
