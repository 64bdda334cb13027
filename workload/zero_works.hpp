#pragma once
// What ZeRO stages 2 and 3 add to a micro-batch, entry by entry of a stage map (Rajbhandari et al.,
// "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", arXiv 1910.02054,
// sections 5 and 7; as FSDP, Zhao et al., arXiv 2304.11277, does it).
//
//   2  Each GPU keeps the main gradients of its share alone, so that after every weight gradient of
//      an entry its gradients are reduced and scattered, in Training::gradient.
//   3  It keeps the BF16 weights of its share alone too: before F, and again before I, those of the
//      entry are gathered. A weight gradient reads no weights. The gathering is in BF16 also where
//      GEMMs are in FP8: the shard is updated in BF16, and FP8 copies are made from what was
//      gathered, each time anew.
//
// With psi parameters on n GPUs a micro-batch moves (n-1)/n psi gradients and, in stage 3, twice as
// many weights; the paper's 2 psi and 3 psi a step are those of one micro-batch, with the weights
// that ZeRO-2 gathers after the update. Nothing whole is kept from one micro-batch to the next.
//
// An embedding or head that several pipeline ranks share (SharedMatrices) is reduced between them
// after the last micro-batch and stays whole, as with ZeRO-1.
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/plan.hpp"
#include "workload/stage_parameters.hpp"
#include "workload/unit_works.hpp"

namespace orrery {

struct ZeroUnit {
  Chain gather_F, gather_I;      // collectives; none where nothing is divided or no kernel reads it
  Chain quantise_F, quantise_I;  // FP8 copies of what was gathered
  Chain reduce;                  // collectives after W
};

struct ZeroWorks {
  WorkId first;             // of `works`
  std::vector<Work> works;  // a Program has them behind those of the unit set
  std::map<LayerKind, ZeroUnit> units;

  const Work& at(WorkId id) const { return works[id.index() - first.index()]; }
};

// Why stages 2 and 3 are not there for a schedule: mirrored ranks of a bidirectional one have the
// gradients of a micro-batch at different times. Nothing where they are, and below stage 2.
inline constexpr const char* kZeroHint =
    "use zero=0 or zero=1, or a schedule of one direction (1f1b, zb-v, dualpipev)";
std::optional<std::string> why_no_zero(const Layout& layout, const Schedule& schedule);

// None below stage 2. `first`: the id of the first work made. `kinds`: the entries wanted.
ZeroWorks make_zero_works(const Model& model, const Cluster& cluster, const Layout& layout,
                          const Training& training, SharedMatrices shared, WorkId first,
                          std::span<const LayerKind> kinds);
// Those of a plan, behind so many works of its unit set.
ZeroWorks make_zero_works(const Plan& plan, std::size_t behind);

}  // namespace orrery
