// Grouped-query attention with one fused QKV projection; plain multi-head attention where kv_heads
// == heads.
#include "workload/attention_parts.hpp"
#include "workload/op_factory.hpp"

namespace orrery {
namespace {

struct Gqa {
  explicit Gqa(const Shard& shard)
      : tokens(shard.tokens),
        local(shard.local_tokens()),
        hidden(shard.model.hidden),
        q_width(shard.heads() * shard.model.attention.qk_dim()),
        k_width(shard.kv_heads() * shard.model.attention.qk_dim()),
        v_width(shard.kv_heads() * shard.model.attention.v_dim),
        out_width(shard.heads() * shard.model.attention.v_dim) {}
  double qkv() const { return q_width + k_width + v_width; }

  double tokens, local, hidden, q_width, k_width, v_width, out_width;
};

Bytes key_values(const Shard& shard, const Gqa& size) {
  return Bytes{size.tokens * (size.k_width + size.v_width) * 2 * (shard.cp - 1)};
}

}  // namespace

Steps gqa_forward(const Shard& shard) {
  const Gqa size(shard);
  StepBuilder ops(shard, Component::kAttention);
  ops.add(norm("pre-attention norm", size.local, size.hidden));
  ops.tensor_parallel(Pattern::kAllGather, gathered_operand(shard, size.hidden), "normed input");
  ops.cast_normed("cast for qkv", size.tokens, size.hidden);
  ops.add(gemm("qkv fprop", shard.precision, size.tokens, size.qkv(), size.hidden));
  ops.add(rope("rotary q", size.tokens, size.q_width));
  ops.add(rope("rotary k", size.tokens, size.k_width));
  ops.context_parallel(Pattern::kAllGather, key_values(shard, size), "keys and values");
  add_attention_forward(ops, shard);
  ops.cast_operand("cast for o_proj", size.tokens, size.out_width);
  ops.add(gemm("o_proj fprop", shard.precision, size.tokens, size.hidden, size.out_width));
  ops.tensor_parallel(Pattern::kReduceScatter, gathered(shard, size.hidden), "attention output");
  ops.add(streaming("add residual", KernelClass::kElementwise, DataType::kBf16, DataType::kBf16,
                    size.local, size.hidden, Bytes{size.local * size.hidden * 6}));
  return ops.take();
}

Steps gqa_input_gradient(const Shard& shard) {
  const Gqa size(shard);
  const bool fp8 = shard.fp8();
  StepBuilder ops(shard, Component::kAttention);
  ops.gather_gradient("attention output gradient", size.hidden);
  ops.cast_gathered("cast dY", size.hidden);
  ops.add_if(fp8, weight_transpose("transpose o_proj weight", size.out_width, size.hidden));
  ops.add(gemm("o_proj dgrad", shard.precision, size.tokens, size.out_width, size.hidden));
  ops.add_if(fp8,
             cast_transpose("cast and transpose attention output", size.tokens, size.out_width));
  ops.add_if(fp8, cast_transpose("cast and transpose dY", size.tokens, size.hidden));
  add_attention_backward(ops, shard);
  ops.context_parallel(Pattern::kReduceScatter, key_values(shard, size), "key and value gradients");
  ops.add(rope("rotary backward q", size.tokens, size.q_width));
  ops.add(rope("rotary backward k", size.tokens, size.k_width));
  ops.cast_operand("cast dqkv", size.tokens, size.qkv());
  ops.add_if(fp8, weight_transpose("transpose qkv weight", size.qkv(), size.hidden));
  ops.add(gemm("qkv dgrad", shard.precision, size.tokens, size.hidden, size.qkv()));
  ops.add_if(fp8, cast_transpose("cast and transpose dqkv", size.tokens, size.qkv()));
  ops.tensor_parallel(Pattern::kReduceScatter, gathered(shard, size.hidden),
                      "normed input gradient");
  ops.add_if(recomputes_attention(shard.recompute),
             recomputed(norm("pre-attention norm recompute", size.local, size.hidden)));
  if (shard.recompute != Recompute::kFull)
    ops.tensor_parallel(Pattern::kAllGather, gathered_operand(shard, size.hidden), "normed input");
  ops.transpose_normed("cast and transpose X", size.tokens, size.hidden);
  ops.add(norm_backward("pre-attention norm backward", size.local, size.hidden));
  ops.add(by_rows("norm weight gradient", KernelClass::kNormFinalize, 1));
  ops.add(small("accumulate norm gradient", 1));
  return ops.take();
}

Steps gqa_weight_gradient(const Shard& shard) {
  const Gqa size(shard);
  StepBuilder ops(shard, Component::kAttention);
  ops.add(wgrad("o_proj wgrad", shard.precision, size.hidden, size.out_width, size.tokens));
  ops.add(wgrad("qkv wgrad", shard.precision, size.qkv(), size.hidden, size.tokens));
  return ops.take();
}

}  // namespace orrery
