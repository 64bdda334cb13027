#pragma once
// Parameter counts and training FLOPs of a model.
//
// Counts include norms and the router; the router's correction bias is not a trained parameter and
// is left out. FLOPs per token follow the published convention (DeepSeek-V3 report and ISCA'25,
// table 2): forward and backward (3 x forward) of the main model with its head, without embedding
// lookup, router, recompute and MTP; 2 FLOPs a multiply-add.
#include "core/model.hpp"
#include "core/quantity.hpp"

namespace orrery {

struct ParameterCounts {
  double attention = 0;    // one layer: projections and their low-rank norms
  double layer_norms = 0;  // the two norms of one layer
  double dense_mlp = 0;    // one dense layer
  double expert = 0;       // one routed or shared expert
  double router = 0;       // one MoE layer
  double embedding = 0;    // the head has as many, unless tied
  double final_norm = 0;
  double mtp_projection =
      0;  // one MTP module: projection and its three norms; it shares embedding and head

  double dense_layer() const { return attention + layer_norms + dense_mlp; }
  double moe_shared(const Model& model) const;  // of one MoE layer without the routed experts
  double moe_layer(const Model& model) const;   // with all routed experts
};

ParameterCounts parameter_counts(const Model& model);
// All parameters of the main model (MTP not counted).
double total_parameters(const Model& model);
// Parameters a token meets: top_k routed experts a layer; the embedding counts or does not.
double active_parameters(const Model& model, bool with_embedding);
// What the MTP modules add.
double mtp_parameters(const Model& model);

enum class Causality { kCausal, kNonCausal };  // count half or all of the attention scores

Flops training_flops_per_token(const Model& model, int sequence, Causality causality);

}  // namespace orrery
