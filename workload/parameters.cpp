#include "workload/parameters.hpp"

namespace orrery {

double ParameterCounts::moe_shared(const Model& model) const {
  return attention + layer_norms + router + expert * model.moe.shared_experts;
}

double ParameterCounts::moe_layer(const Model& model) const {
  return moe_shared(model) + expert * model.moe.experts;
}

ParameterCounts parameter_counts(const Model& model) {
  const Attention& a = model.attention;
  const double hidden = model.hidden;
  ParameterCounts counts;
  if (a.kind == AttentionKind::kMla) {
    const double q = a.q_lora_rank > 0
                         ? hidden * a.q_lora_rank + a.q_lora_rank +
                               static_cast<double>(a.q_lora_rank) * a.heads * a.qk_dim()
                         : hidden * a.heads * a.qk_dim();
    const double kv = hidden * (a.kv_lora_rank + a.qk_rope_dim) + a.kv_lora_rank +
                      static_cast<double>(a.kv_lora_rank) * a.heads * (a.qk_nope_dim + a.v_dim);
    counts.attention = q + kv + static_cast<double>(a.heads) * a.v_dim * hidden;
  } else {
    counts.attention = hidden * (static_cast<double>(a.heads) * a.qk_dim() +
                                 static_cast<double>(a.kv_heads) * (a.qk_dim() + a.v_dim)) +
                       static_cast<double>(a.heads) * a.v_dim * hidden;
  }
  counts.layer_norms = 2 * hidden;
  counts.dense_mlp = (model.gated_mlp ? 3 : 2) * hidden * model.dense_inter;
  counts.expert = 3 * hidden * model.moe.inter;
  counts.router = hidden * model.moe.experts;
  counts.embedding = hidden * model.vocab;
  counts.final_norm = hidden;
  counts.mtp_projection = model.mtp_depth > 0 ? 2 * hidden * hidden + 3 * hidden : 0;
  return counts;
}

double total_parameters(const Model& model) {
  const ParameterCounts counts = parameter_counts(model);
  return counts.embedding * (model.tied_embeddings ? 1 : 2) + counts.final_norm +
         counts.dense_layer() * model.dense_layers + counts.moe_layer(model) * model.moe_layers();
}

double active_parameters(const Model& model, bool with_embedding) {
  const ParameterCounts counts = parameter_counts(model);
  const double moe = counts.moe_shared(model) + counts.expert * model.moe.top_k;
  return counts.embedding * (with_embedding ? 2 : 1) + counts.final_norm +
         counts.dense_layer() * model.dense_layers + moe * model.moe_layers();
}

double mtp_parameters(const Model& model) {
  const ParameterCounts counts = parameter_counts(model);
  return model.mtp_depth * (counts.moe_layer(model) + counts.mtp_projection);
}

Flops training_flops_per_token(const Model& model, int sequence, Causality causality) {
  const ParameterCounts counts = parameter_counts(model);
  const Attention& a = model.attention;
  const double norms =
      counts.layer_norms + (a.kind == AttentionKind::kMla ? a.q_lora_rank + a.kv_lora_rank : 0);
  const double linear = active_parameters(model, false) - counts.router * model.moe_layers() -
                        norms * model.layers - counts.final_norm;
  const double keys = causality == Causality::kCausal ? sequence / 2.0 : sequence;
  const double attention = keys * 2 * a.heads * (a.qk_dim() + a.v_dim) * model.layers;
  return Flops{3 * (2 * linear + attention)};
}

}  // namespace orrery
