#pragma once
// What is not a layer's attention or experts: dense MLP, embedding, MTP projection, output head
// with loss, optimizer.
#include "core/plan.hpp"
#include "workload/steps.hpp"

namespace orrery {

// Dense MLP with its norm: FP8 like the experts.
Steps dense_mlp_forward(const Shard& shard);
Steps dense_mlp_input_gradient(const Shard& shard);
Steps dense_mlp_weight_gradient(const Shard& shard);

// Token embedding: a gather forward, a scatter-add for the weight gradient.
Steps embedding_forward(const Shard& shard);
Steps embedding_input_gradient(const Shard& shard);
Steps embedding_weight_gradient(const Shard& shard);

// MTP module entry (DeepSeek-V3 report, section 2.2): norms of the hidden state and of the next
// token's embedding, concatenation, projection [2 d -> d].
Steps mtp_projection_forward(const Shard& shard);
Steps mtp_projection_input_gradient(const Shard& shard);
Steps mtp_projection_weight_gradient(const Shard& shard);

// Final norm, logits in BF16, fused cross-entropy that leaves the gradient of the logits.
Steps head_forward(const Shard& shard);
Steps head_input_gradient(const Shard& shard);
Steps head_weight_gradient(const Shard& shard);

// AdamW over `parameters` of this GPU's shard: reads gradient, master weight and moments, writes
// master, moments and the compute weight.
// The sum of squares of the gradients that a GPU owns after their reduction.
Op gradient_norm(const Training& training, double parameters);
// Of the weights that FP8 GEMMs read, with one scale a tensor: once a step, kept for all of its
// micro-batches.
Op weight_cast(double parameters);
Op optimizer_update(const Training& training, double parameters);
// The same by the CPUs: gradients go there, updated weights come back.
std::vector<Op> host_optimizer_update(const Training& training, double parameters);
// Of the moving average, on the GPU: reads the weight, reads and writes the average in FP32.
Op ema_update(double parameters);

}  // namespace orrery
