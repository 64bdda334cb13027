#include "workload/lifetimes.hpp"

#include "workload/attention_ops.hpp"
#include "workload/edge_ops.hpp"
#include "workload/moe_ops.hpp"

namespace orrery {
namespace {

constexpr double kBf16 = 2;
constexpr double kFp32 = 4;

// One stored element of an FP8 activation, with its 1x128 scale where it has one, or BF16.
double stored(const Shard& shard) {
  if (shard.fp8_tensor()) return 1;
  return shard.fp8() ? 1 + kFp32 / 128 : kBf16;
}

// What fc1 made, for the gradient of the activation: DeepSeek-V3's recipe caches it in FP8.
double fc1_stored(const Shard& shard) {
  return shard.fp8() ? stored(shard) : kBf16;
}

// Both operands of every weight gradient in `steps`.
Bytes wgrad_operands(const Shard& shard, const Steps& steps) {
  double bytes = 0;
  for (const Step& step : steps) {
    for (const Op& op : step.ops) {
      if (op.kernel == KernelClass::kWgrad || op.kernel == KernelClass::kGroupedWgrad) {
        bytes += (op.m + op.n) * op.k * op.groups * stored(shard);
      }
    }
  }
  return Bytes{bytes};
}

// Softmax's output and dropout's in BF16, a byte of mask: 5 a s^2 b (arXiv 2205.05198,
// section 4.1).
double score_bytes(const Shard& shard) {
  return shard.tokens * shard.heads() * shard.sequence * 5;
}

// The mask of the dropout before a residual is added, a byte an element (same place). Who computes
// attention unfused trains with it.
double dropout_mask(const Shard& shard) {
  return shard.unfused_attention() ? shard.local_tokens() * shard.model.hidden : 0;
}

// The normed input, which the router and the weight gradients read, where the norm is not
// recomputed.
double normed_input(const Shard& shard) {
  return shard.local_tokens() * shard.model.hidden * stored(shard);
}

Lifetimes attention(const Shard& shard) {
  const Attention& a = shard.model.attention;
  const double local = shard.local_tokens();
  const double tokens = shard.tokens;
  const double heads = shard.heads();
  const double out_width = heads * a.v_dim;
  const bool recompute = recomputes_attention(shard.recompute);
  double bytes = local * shard.model.hidden * kBf16;  // residual input
  bytes += tokens * out_width * (recompute && shard.fp8() ? 1.5 : kBf16);
  if (!shard.unfused_attention()) {
    bytes += tokens * heads * kFp32;  // log-sum-exp
  } else if (!recompute) {
    bytes += score_bytes(shard);
  }
  if (a.kind == AttentionKind::kMla) {
    bytes += local * (a.q_lora_rank + a.kv_lora_rank + a.qk_rope_dim) * kBf16;
    if (!recompute || a.q_lora_rank == 0) bytes += tokens * heads * a.qk_dim() * kBf16;
    if (!recompute) bytes += tokens * heads * (a.qk_dim() + a.v_dim) * kBf16;
  } else {
    bytes += tokens * (heads * a.qk_dim() + shard.kv_heads() * (a.qk_dim() + a.v_dim)) * kBf16;
  }
  if (!recompute) bytes += normed_input(shard);
  bytes += dropout_mask(shard);
  return {Bytes{bytes}, Bytes{}, wgrad_operands(shard, attention_weight_gradient(shard))};
}

Lifetimes experts(const Shard& shard) {
  const Model& model = shard.model;
  const double local = shard.local_tokens();
  const double rows = shard.forward_rows.rows;
  // With one scale a tensor rows are cast where they are expanded, and kept for the weight
  // gradient.
  const double received =
      (shard.fp8_tensor() ? rows : shard.forward_rows.unique) * model.hidden * stored(shard);
  double bytes = local * model.hidden * kBf16;  // residual input
  bytes +=
      local * (model.moe.experts + 2 * model.moe.top_k) * kFp32;  // affinities, choices, weights
  bytes += rows * 2 * shard.expert_inter() * fc1_stored(shard);   // routed fc1 output
  bytes += shard.tokens * 2 * shard.shared_inter() * fc1_stored(shard);  // shared fc1 output
  bytes += dropout_mask(shard);
  if (!recomputes_mlp(shard.recompute)) {
    bytes += normed_input(shard);
    bytes += rows * shard.expert_inter() * stored(shard) +
             shard.tokens * shard.shared_inter() * stored(shard);
  }
  // The routed operands of fc1 and fc2 that come over the wire are kept as received, one row a
  // token, and transposed only in W; the others are kept transposed.
  const double gradient_received =
      (shard.fp8_tensor() ? shard.backward_rows.rows : shard.backward_rows.unique) * model.hidden *
      stored(shard);
  const double routed = shard.backward_rows.rows * 3 * shard.expert_inter() * stored(shard);
  const double shared =
      shard.shared_inter() > 0
          ? shard.tokens * (2 * model.hidden + 3 * shard.shared_inter()) * stored(shard)
          : 0;
  return {Bytes{bytes}, Bytes{received}, Bytes{gradient_received + routed + shared}};
}

Lifetimes dense_mlp(const Shard& shard) {
  double bytes = shard.local_tokens() * shard.model.hidden * kBf16;
  bytes += shard.tokens * shard.dense_fc1() * fc1_stored(shard);
  bytes += dropout_mask(shard);
  if (!recomputes_mlp(shard.recompute))
    bytes += normed_input(shard) + shard.tokens * shard.dense_inter() * stored(shard);
  return {Bytes{bytes}, Bytes{}, wgrad_operands(shard, dense_mlp_weight_gradient(shard))};
}

Lifetimes head(const Shard& shard) {
  // Gradient of the logits (written over them) and the normed input, both needed by I and W.
  const double bytes = shard.tokens * (shard.vocab() + shard.model.hidden) * kBf16;
  return {shard.local_tokens() * Bytes{shard.model.hidden * kBf16}, Bytes{bytes}, Bytes{}};
}

Lifetimes operator+(const Lifetimes& a, const Lifetimes& b) {
  return {a.until_input_gradient + b.until_input_gradient,
          a.until_weight_gradient + b.until_weight_gradient, a.weight_operands + b.weight_operands};
}

// What is recomputed as a whole keeps its input alone; what its backward makes is gone when it
// ends.
Lifetimes input_alone(const Shard& shard, const Lifetimes& parts) {
  return {shard.local_tokens() * Bytes{shard.model.hidden * kBf16}, Bytes{},
          parts.weight_operands + parts.until_weight_gradient};
}

Lifetimes dense_layer(const Shard& shard) {
  const Lifetimes parts = attention(shard) + dense_mlp(shard);
  return shard.recompute == Recompute::kFull ? input_alone(shard, parts) : parts;
}

Lifetimes moe_layer(const Shard& shard) {
  if (shard.recompute == Recompute::kFull)
    return input_alone(shard, attention(shard) + experts(shard));
  if (recomputes_experts(shard.recompute))
    return attention(shard) + input_alone(shard, experts(shard));
  return attention(shard) + experts(shard);
}

}  // namespace

Lifetimes lifetimes(const Shard& shard, LayerKind kind) {
  switch (kind) {
    case LayerKind::kEmbedding:
      // The gradient that comes in is the operand of the table's gradient.
      return {Bytes{}, Bytes{}, Bytes{shard.tokens * shard.model.hidden * kBf16}};
    case LayerKind::kDense: return dense_layer(shard);
    case LayerKind::kMoe: return moe_layer(shard);
    case LayerKind::kMtp: {
      // Of the next token's embedding the table's gradient is an operand too.
      const Bytes embedding_gradient{shard.tokens * shard.model.hidden * kBf16};
      const Lifetimes projection = {
          shard.local_tokens() * Bytes{2 * shard.model.hidden * kBf16}, Bytes{},
          wgrad_operands(shard, mtp_projection_weight_gradient(shard)) + embedding_gradient};
      return projection + moe_layer(shard) + head(shard);
    }
    case LayerKind::kHead: return head(shard);
  }
  return {};
}

Bytes workspace(const Shard& shard) {
  const double hidden = shard.model.hidden;
  const auto one_pass = [&](const RoutedRows& routed) {
    // Expanded input, fc1 output, fc2 output of the routed experts; rows on the wire in BF16.
    return routed.rows *
               (hidden * stored(shard) + 2 * shard.expert_inter() * kBf16 + hidden * kBf16) +
           routed.unique * hidden * kBf16;
  };
  const double attention = shard.tokens * shard.heads() *
                           (2 * shard.model.attention.qk_dim() + 2 * shard.model.attention.v_dim) *
                           kBf16;
  const double scores = shard.unfused_attention() ? score_bytes(shard) : 0;  // of one layer
  return Bytes{one_pass(shard.forward_rows) + one_pass(shard.backward_rows) + 2 * attention +
               scores};
}

}  // namespace orrery
