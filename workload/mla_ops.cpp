// Multi-head latent attention (DeepSeek-V2 report, section 2.1): queries and keys/values go through
// low-rank latents; one rotated key is shared by all heads.
#include "workload/attention_parts.hpp"
#include "workload/op_factory.hpp"

namespace orrery {
namespace {

// Widths of the block on this shard.
struct Mla {
  explicit Mla(const Shard& shard)
      : tokens(shard.tokens),
        local(shard.local_tokens()),
        hidden(shard.model.hidden),
        q_rank(shard.model.attention.q_lora_rank),
        kv_rank(shard.model.attention.kv_lora_rank),
        rope_dim(shard.model.attention.qk_rope_dim),
        q_width(shard.heads() * shard.model.attention.qk_dim()),
        nope_width(shard.heads() * shard.model.attention.qk_nope_dim),
        rope_width(shard.heads() * shard.model.attention.qk_rope_dim),
        v_width(shard.heads() * shard.model.attention.v_dim) {}
  double kv_down() const { return kv_rank + rope_dim; }
  double kv_up() const { return nope_width + v_width; }
  bool low_rank_query() const { return q_rank > 0; }

  double tokens, local, hidden, q_rank, kv_rank, rope_dim, q_width, nope_width, rope_width, v_width;
};

// From the latents to q, k, v as attention wants them. `recompute` marks the second time, in the
// backward.
void up_projections(StepBuilder& ops, const Shard& shard, const Mla& size, bool recompute) {
  const auto add = [&](Op op) {
    op.recompute = recompute;
    ops.add(std::move(op));
  };
  if (size.low_rank_query()) {
    ops.cast_operand("cast q_lora", size.tokens, size.q_rank, recompute);
    add(gemm(recompute ? "q_up recompute" : "q_up fprop", shard.precision, size.tokens,
             size.q_width, size.q_rank));
  }
  ops.cast_operand("cast kv_lora", size.tokens, size.kv_rank, recompute);
  add(gemm(recompute ? "kv_up recompute" : "kv_up fprop", shard.precision, size.tokens,
           size.kv_up(), size.kv_rank));
  add(rope("rotary k_rope", size.tokens, size.rope_dim));
  add(copy("assemble k and v", size.tokens, size.nope_width));
  add(streaming("broadcast k_rope to heads", KernelClass::kCopyBroadcast, DataType::kBf16,
                DataType::kBf16, size.tokens, size.rope_width,
                Bytes{size.tokens * (size.rope_width + size.rope_dim) * 2}));
  add(rope("rotary q_rope", size.tokens, size.rope_width));
}

}  // namespace

Steps mla_forward(const Shard& shard) {
  const Mla size(shard);
  StepBuilder ops(shard, Component::kAttention);
  ops.add(norm("pre-attention norm", size.local, size.hidden));
  const double query_out = size.low_rank_query() ? size.q_rank : size.q_width * shard.tp;
  ops.cast_normed("cast for q_down", size.local, size.hidden);
  if (size.low_rank_query()) {
    ops.add(gemm("q_down fprop", shard.precision, size.local, query_out, size.hidden));
  } else {
    // A full query projection is divided by heads like an up-projection: the normed input is
    // gathered first.
    ops.tensor_parallel(Pattern::kAllGather, gathered_operand(shard, size.hidden), "normed input");
    ops.add(gemm("q_proj fprop", shard.precision, size.tokens, size.q_width, size.hidden));
  }
  ops.cast_normed("cast for kv_down", size.local, size.hidden);
  ops.add(gemm("kv_down fprop", shard.precision, size.local, size.kv_down(), size.hidden));
  ops.add(small("position indices", 2));
  if (size.low_rank_query()) ops.add(norm("q_lora norm", size.local, size.q_rank));
  ops.add(copy("slice kv_lora", size.local, size.kv_rank));
  ops.add(norm("kv_lora norm", size.local, size.kv_rank));
  ops.add(copy("slice k_rope", size.local, size.rope_dim));
  ops.tensor_parallel(Pattern::kAllGather, gathered(shard, size.q_rank + size.kv_down()),
                      "latents");
  up_projections(ops, shard, size, false);
  const double kv_per_token = (size.nope_width + size.v_width + size.rope_dim) * 2;
  ops.context_parallel(Pattern::kAllGather, Bytes{size.tokens * kv_per_token * (shard.cp - 1)},
                       "keys and values");
  add_attention_forward(ops, shard);
  ops.add_if(shard.fp8() && recomputes_attention(shard.recompute),
             streaming("cast attention output to E5M6", KernelClass::kCastE5m6, DataType::kBf16,
                       DataType::kE5m6, size.tokens, size.v_width,
                       Bytes{size.tokens * size.v_width * 3.5}));
  ops.cast_operand("cast for o_proj", size.tokens, size.v_width);
  ops.add(gemm("o_proj fprop", shard.precision, size.tokens, size.hidden, size.v_width));
  ops.tensor_parallel(Pattern::kReduceScatter, gathered(shard, size.hidden), "attention output");
  ops.add(streaming("scale", KernelClass::kElementwise, DataType::kBf16, DataType::kBf16,
                    size.local, size.hidden, Bytes{size.local * size.hidden * 4}));
  return ops.take();
}

Steps mla_input_gradient(const Shard& shard) {
  const Mla size(shard);
  const bool fp8 = shard.fp8();
  const bool tensor = shard.fp8_tensor();
  const bool recompute = recomputes_attention(shard.recompute);
  StepBuilder ops(shard, Component::kAttention);
  ops.add(streaming("scale", KernelClass::kElementwise, DataType::kBf16, DataType::kBf16,
                    size.local, size.hidden, Bytes{size.local * size.hidden * 4}));
  ops.gather_gradient("attention output gradient", size.hidden);
  ops.add_if(fp8 && recompute,
             streaming("cast attention output back from E5M6", KernelClass::kCastBackE5m6,
                       DataType::kE5m6, DataType::kBf16, size.tokens, size.v_width,
                       Bytes{size.tokens * size.v_width * 3.5}));
  ops.add_if(fp8, cast("cast dY", size.tokens, size.hidden));
  if (!fp8) ops.cast_gathered("cast dY", size.hidden);
  ops.add_if(fp8, weight_transpose("transpose o_proj weight", size.v_width, size.hidden));
  ops.add_if(fp8, scale_transpose(size.tokens, size.hidden));
  ops.add(gemm("o_proj dgrad", shard.precision, size.tokens, size.v_width, size.hidden));
  ops.add_if(fp8, cast_transpose("cast and transpose attention output", size.tokens, size.v_width));
  ops.add_if(fp8, cast_transpose("cast and transpose dY", size.tokens, size.hidden));
  if (shard.recompute != Recompute::kFull) {
    // Stored divided over the tensor-parallel GPUs, needed whole by the up-projections' gradients.
    ops.tensor_parallel(Pattern::kAllGather, gathered(shard, size.q_rank + size.kv_down()),
                        "latents");
  }
  if (recompute) {
    if (size.low_rank_query())
      ops.add(recomputed(norm("q_lora norm recompute", size.tokens, size.q_rank)));
    ops.add(recomputed(copy("slice kv_lora", size.tokens, size.kv_rank)));
    ops.add(recomputed(norm("kv_lora norm recompute", size.tokens, size.kv_rank)));
    up_projections(ops, shard, size, true);
  }
  add_attention_backward(ops, shard);
  const double kv_per_token = (size.nope_width + size.v_width + size.rope_dim) * 2;
  ops.context_parallel(Pattern::kReduceScatter, Bytes{size.tokens * kv_per_token * (shard.cp - 1)},
                       "key and value gradients");
  ops.add(rope("rotary backward q", size.tokens, size.rope_width));
  if (size.low_rank_query()) {
    ops.add_if(fp8, weight_transpose("transpose q_up weight", size.q_width, size.q_rank));
    ops.cast_operand("cast dq", size.tokens, size.q_width);
    ops.add(gemm("q_up dgrad", shard.precision, size.tokens, size.q_rank, size.q_width));
  }
  ops.add(streaming("reduce k_rope gradient over heads", KernelClass::kHeadReduce, DataType::kBf16,
                    DataType::kBf16, size.tokens, size.rope_width,
                    Bytes{size.tokens * (size.rope_width + size.rope_dim) * 2}));
  ops.add(rope("rotary backward k", size.tokens, size.rope_dim));
  ops.add(copy("copy dk", size.tokens, size.nope_width));
  ops.add(copy("copy dv", size.tokens, size.v_width));
  ops.add_if(fp8, weight_transpose("transpose kv_up weight", size.kv_up(), size.kv_rank));
  ops.cast_operand("cast dkv", size.tokens, size.kv_up());
  ops.add(gemm("kv_up dgrad", shard.precision, size.tokens, size.kv_rank, size.kv_up()));
  ops.add_if(fp8, cast_transpose("cast and transpose dkv", size.tokens, size.kv_up()));
  ops.add_if(fp8, cast_transpose("cast and transpose kv_lora", size.tokens, size.kv_rank));
  ops.add_if(fp8, cast_transpose("cast and transpose dq", size.tokens, size.q_width));
  if (size.low_rank_query()) {
    ops.add_if(fp8, cast_transpose("cast and transpose q_lora", size.tokens, size.q_rank));
  }
  ops.tensor_parallel(Pattern::kReduceScatter, gathered(shard, size.q_rank + size.kv_down()),
                      "latent gradients");
  ops.add(norm_backward("kv_lora norm backward", size.local, size.kv_rank));
  ops.add(by_rows("norm weight gradient", KernelClass::kNormFinalize, 1));
  ops.add(small("accumulate norm gradient", 1));
  if (size.low_rank_query()) {
    ops.add(norm_backward("q_lora norm backward", size.local, size.q_rank));
    ops.add(by_rows("norm weight gradient", KernelClass::kNormFinalize, 1));
    ops.add(small("accumulate norm gradient", 1));
  }
  ops.add(small("assemble kv_down output gradient", 5));
  ops.add_if(recompute, recomputed(norm("pre-attention norm recompute", size.local, size.hidden)));
  ops.add_if(fp8, cast("cast d(kv_down output)", size.local, size.kv_down()));
  ops.add_if(tensor, cast_both_ways("cast d(kv_down output)", size.local, size.kv_down()));
  ops.add_if(fp8, weight_transpose("transpose kv_down weight", size.kv_down(), size.hidden));
  ops.add_if(fp8, scale_transpose(size.local, size.kv_down()));
  ops.add(gemm("kv_down dgrad", shard.precision, size.local, size.hidden, size.kv_down()));
  ops.transpose_normed("cast and transpose X", size.local, size.hidden);
  ops.add_if(fp8,
             cast_transpose("cast and transpose d(kv_down output)", size.local, size.kv_down()));
  if (size.low_rank_query()) {
    ops.add_if(fp8, cast("cast d(q_down output)", size.local, size.q_rank));
    ops.add_if(tensor, cast_both_ways("cast d(q_down output)", size.local, size.q_rank));
    ops.add_if(fp8, weight_transpose("transpose q_down weight", size.q_rank, size.hidden));
    ops.add_if(fp8, scale_transpose(size.local, size.q_rank));
    ops.add(gemm("q_down dgrad", shard.precision, size.local, size.hidden, size.q_rank));
    ops.add_if(fp8, cast_transpose("cast and transpose X", size.local, size.hidden));
    ops.add_if(fp8, cast_transpose("cast and transpose d(q_down output)", size.local, size.q_rank));
  } else {
    ops.add_if(fp8, cast("cast dq", size.tokens, size.q_width));
    ops.add_if(tensor, cast_both_ways("cast dq", size.tokens, size.q_width));
    ops.add_if(fp8, weight_transpose("transpose q_proj weight", size.q_width, size.hidden));
    ops.add_if(fp8, scale_transpose(size.tokens, size.q_width));
    ops.add(gemm("q_proj dgrad", shard.precision, size.tokens, size.hidden, size.q_width));
    if (shard.recompute != Recompute::kFull)
      ops.tensor_parallel(Pattern::kAllGather, gathered_operand(shard, size.hidden),
                          "normed input");
    ops.transpose_normed("cast and transpose X", size.tokens, size.hidden);
    ops.tensor_parallel(Pattern::kReduceScatter, gathered(shard, size.hidden),
                        "normed input gradient");
  }
  ops.add(streaming("add projection gradients", KernelClass::kElementwise, DataType::kBf16,
                    DataType::kBf16, size.local, size.hidden, Bytes{size.local * size.hidden * 6}));
  ops.add(norm_backward("pre-attention norm backward", size.local, size.hidden));
  ops.add(by_rows("norm weight gradient", KernelClass::kNormFinalize, 1));
  ops.add(small("accumulate norm gradient", 1));
  return ops.take();
}

Steps mla_weight_gradient(const Shard& shard) {
  const Mla size(shard);
  StepBuilder ops(shard, Component::kAttention);
  ops.add(wgrad("o_proj wgrad", shard.precision, size.hidden, size.v_width, size.tokens));
  ops.add(wgrad("kv_up wgrad", shard.precision, size.kv_up(), size.kv_rank, size.tokens));
  if (size.low_rank_query()) {
    ops.add(wgrad("q_up wgrad", shard.precision, size.q_width, size.q_rank, size.tokens));
  }
  ops.add(wgrad("kv_down wgrad", shard.precision, size.kv_down(), size.hidden, size.local));
  if (size.low_rank_query()) {
    ops.add(wgrad("q_down wgrad", shard.precision, size.q_rank, size.hidden, size.local));
  } else {
    ops.add(wgrad("q_proj wgrad", shard.precision, size.q_width, size.hidden, size.tokens));
  }
  return ops.take();
}

}  // namespace orrery
