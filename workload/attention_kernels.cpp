// Attention kernels proper (shared by MLA and GQA) and the dispatch between the two.
#include "workload/attention_parts.hpp"
#include "workload/op_factory.hpp"

namespace orrery {

// Causal: each query sees half the keys on average, 2 * (T * S / 2) * (d_qk + d_v) FLOPs a head.
Op attention_forward_kernel(const Shard& shard) {
  const Attention& attention = shard.model.attention;
  const double tokens = shard.tokens;
  const double heads = shard.heads();
  Op op;
  op.name = "attention forward";
  op.kernel = KernelClass::kAttentionForward;
  op.in = op.out = DataType::kBf16;
  op.m = tokens;
  op.n = shard.sequence;
  op.k = attention.qk_dim();
  op.groups = static_cast<int>(heads);
  op.flops = Flops{tokens * shard.sequence * heads * (attention.qk_dim() + attention.v_dim)};
  // q, k, v, output in BF16 and the log-sum-exp in FP32.
  const double key_heads = attention.kind == AttentionKind::kMla ? heads : shard.kv_heads();
  op.bytes = Bytes{tokens * heads * (attention.qk_dim() + attention.v_dim) * 2 +
                   tokens * shard.cp * key_heads * (attention.qk_dim() + attention.v_dim) * 2 +
                   tokens * heads * 4};
  return op;
}

// Five products: scores again (d_qk), dP and dV (d_v), dQ and dK (d_qk), FlashAttention-2 (Dao
// 2023), algorithm 2.
Op attention_backward_kernel(const Shard& shard) {
  const Attention& attention = shard.model.attention;
  const double tokens = shard.tokens;
  const double heads = shard.heads();
  const double qk = attention.qk_dim();
  const double v = attention.v_dim;
  const double key_heads = attention.kind == AttentionKind::kMla ? heads : shard.kv_heads();
  Op op;
  op.name = "attention backward";
  op.kernel = KernelClass::kAttentionBackward;
  op.in = op.out = DataType::kBf16;
  op.m = tokens;
  op.n = shard.sequence;
  op.k = qk;
  op.groups = static_cast<int>(heads);
  op.flops = Flops{tokens * shard.sequence * heads * (3 * qk + 2 * v)};
  // Read q, k, v, dO; write dK, dV in BF16; accumulate dQ, read log-sum-exp and delta in FP32.
  op.bytes =
      Bytes{tokens * heads * (qk + v) * 2 + 2 * tokens * shard.cp * key_heads * (qk + v) * 2 +
            tokens * heads * (qk * 4 + 8)};
  return op;
}

void add_attention_forward(StepBuilder& ops, const Shard& shard) {
  if (shard.unfused_attention()) return add_unfused_forward(ops, shard);
  ops.add(attention_forward_kernel(shard));
}

void add_attention_backward(StepBuilder& ops, const Shard& shard) {
  if (shard.unfused_attention()) return add_unfused_backward(ops, shard);
  const Attention& attention = shard.model.attention;
  const double tokens = shard.tokens;
  const double v_width = shard.heads() * attention.v_dim;
  const double qk_width = shard.heads() * attention.qk_dim();
  // delta = rowsum(O * dO), and the FP32 accumulator of dQ is cleared.
  ops.add(
      streaming("attention backward preprocess", KernelClass::kAttentionBackwardPre,
                DataType::kBf16, DataType::kFp32, tokens, v_width,
                Bytes{tokens * v_width * 4 + tokens * qk_width * 4 + tokens * shard.heads() * 8}));
  ops.add(attention_backward_kernel(shard));
  ops.add(streaming("attention backward postprocess dQ", KernelClass::kAttentionBackwardPost,
                    DataType::kFp32, DataType::kBf16, tokens, qk_width,
                    Bytes{tokens * qk_width * 6}));
}

Steps attention_forward(const Shard& shard) {
  return shard.model.attention.kind == AttentionKind::kMla ? mla_forward(shard)
                                                           : gqa_forward(shard);
}

Steps attention_input_gradient(const Shard& shard) {
  return shard.model.attention.kind == AttentionKind::kMla ? mla_input_gradient(shard)
                                                           : gqa_input_gradient(shard);
}

Steps attention_weight_gradient(const Shard& shard) {
  return shard.model.attention.kind == AttentionKind::kMla ? mla_weight_gradient(shard)
                                                           : gqa_weight_gradient(shard);
}

}  // namespace orrery
