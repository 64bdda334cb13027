#pragma once
// How long the tensors of a layer live, in bytes a micro-batch on one GPU. DeepSeek-V3 keeps
// (report, sections 3.2.3 and 3.3.3): residual inputs in BF16 for the recomputed norms, the
// latents, the attention output in E5M6, the outputs of fc1 in FP8; SwiGLU, norms and
// up-projections are recomputed. Operands of weight gradients are made in the input gradient,
// transposed and in FP8, and live until the weight gradient has run.
#include "core/layout.hpp"
#include "core/quantity.hpp"
#include "workload/shard.hpp"

namespace orrery {

struct Lifetimes {
  Bytes until_input_gradient;   // made in F, freed after I
  Bytes until_weight_gradient;  // made in F, freed after W
  Bytes weight_operands;        // made in I, freed after W
  bool operator==(const Lifetimes&) const = default;
};

Lifetimes lifetimes(const Shard& shard, LayerKind kind);

// The largest transient need inside one layer: expanded rows, MLP outputs and the tensors on the
// wire, forward and backward at once as in a co-scheduled pair.
Bytes workspace(const Shard& shard);

}  // namespace orrery
