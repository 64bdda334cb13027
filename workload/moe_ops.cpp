#include "workload/moe_ops.hpp"

#include <algorithm>

#include "workload/op_factory.hpp"

namespace orrery {
namespace {

struct ExpertSizes {
  explicit ExpertSizes(const Shard& shard)
      : local(shard.local_tokens()),
        hidden(shard.model.hidden),
        inter(shard.expert_inter()),
        shared(shard.shared_inter()),
        experts(shard.model.moe.experts),
        local_experts(shard.local_experts()),
        top_k(shard.model.moe.top_k),
        gathered(shard.tokens) {}
  double local, hidden, inter, shared, experts;
  int local_experts;
  double top_k;
  double gathered;  // tokens the shared expert sees: all of the tensor-parallel group
};

// Scales with the rows that this GPU's experts get.
Op by_load(Op op) {
  op.routed = true;
  return op;
}

Op expand_rows(std::string name, const RoutedRows& routed, double hidden, bool fp8) {
  const double row_bytes = fp8 ? hidden + hidden / 128 * 4 : hidden * 2;
  return streaming(std::move(name), KernelClass::kExpand, fp8 ? DataType::kFp8 : DataType::kBf16,
                   fp8 ? DataType::kFp8 : DataType::kBf16, routed.rows, hidden,
                   Bytes{(routed.unique + routed.rows) * row_bytes});
}

Op reduce_rows(const RoutedRows& routed, double hidden) {
  return streaming("reduce expanded rows", KernelClass::kReduce, DataType::kBf16, DataType::kBf16,
                   routed.rows, hidden, Bytes{2 * hidden * (routed.rows + routed.unique)});
}

Op scale_rows(const RoutedRows& routed, double top_k) {
  return streaming("scale routing weights", KernelClass::kElementwise, DataType::kFp32,
                   DataType::kFp32, routed.unique, top_k, Bytes{routed.unique * top_k * 8});
}

// Gate and up (BF16) in, their product (FP8, or BF16) out.
Op swiglu(std::string name, KernelClass kernel, double rows, double inter, bool fp8) {
  const double bytes = fp8 ? rows * inter * 5 + rows * inter / 128 * 4 : rows * inter * 6;
  return streaming(std::move(name), kernel, DataType::kBf16, fp8 ? DataType::kFp8 : DataType::kBf16,
                   rows, inter, Bytes{bytes});
}

// What a GPU sends of its own tokens by an all-to-all: a row for each of their experts.
RoutedRows sent_rows(const Shard& shard) {
  return {shard.local_tokens() * shard.model.moe.top_k, shard.local_tokens()};
}

}  // namespace

Steps router_forward(const Shard& shard) {
  const ExpertSizes size(shard);
  StepBuilder ops(shard, Component::kAttention);
  ops.add(norm("pre-MoE norm", size.local, size.hidden));
  Op gate = gemm("router gate fprop", Precision::kBf16, size.local, size.experts, size.hidden);
  gate.out = DataType::kFp32;
  gate.bytes += Bytes{size.local * size.experts * 2};
  ops.add(gate);
  ops.add_if(shard.model.moe.groups > 1,
             by_rows("router group top-k", KernelClass::kRouterTopk, size.local));
  ops.add(by_rows("router expert top-k", KernelClass::kRouterTopk, size.local));
  ops.add(by_rows("router scores, masks, counters", KernelClass::kRouterSmall, size.local, 34));
  // The balance loss counts the choices of whole sequences (DeepSeek-V3 report, equation 18), whose
  // tokens the tensor-parallel GPUs share.
  ops.tensor_parallel(Pattern::kAllReduce,
                      Bytes{2 * size.experts * 4 * shard.micro_batch * (shard.tp - 1) / shard.tp},
                      "expert counts of sequences");
  ops.add_if(shard.fp8(), cast("cast before dispatch", size.local, size.hidden));
  if (shard.all_to_all())
    ops.add(expand_rows("rows in the order of their GPUs", sent_rows(shard), size.hidden, false));
  return ops.take();
}

Steps experts_forward(const Shard& shard) {
  const ExpertSizes size(shard);
  const RoutedRows& routed = shard.forward_rows;
  const bool fp8 = shard.fp8();
  const bool tensor = shard.fp8_tensor();
  const bool shared = size.shared > 0;
  StepBuilder ops(shard, Component::kMlp);
  if (shared) {
    ops.tensor_parallel(Pattern::kAllGather,
                        Bytes{size.local * (shard.tp - 1) * size.hidden * (fp8 ? 1 : 2)},
                        "shared expert input");
    ops.add_if(fp8, scale_transpose(size.gathered, size.hidden));
    ops.add_if(tensor, cast_both_ways("cast for shared fc1", size.gathered, size.hidden));
    ops.add(gemm("shared fc1 fprop", shard.precision, size.gathered, 2 * size.shared, size.hidden));
  }
  ops.expert_tensor_parallel(Pattern::kAllGather, routed.unique,
                             fp8 ? DataType::kFp8 : DataType::kBf16, "received tokens");
  ops.add(by_rows("count rows of experts", KernelClass::kExpertCount, routed.unique));
  ops.add(by_rows("map tokens to rows", KernelClass::kExpertMapping, routed.unique));
  ops.add(by_load(expand_rows("expand dispatched tokens", routed, size.hidden, fp8)));
  ops.add_if(fp8, weight_transpose("transpose routed fc1 weights", 2 * size.inter, size.hidden,
                                   size.local_experts));
  ops.add_if(fp8, by_load(copy_scales(routed.rows, size.hidden)));
  ops.add_if(tensor, by_load(cast_both_ways("cast for routed fc1", routed.rows, size.hidden)));
  ops.add(small("fill tensor maps", 1));
  ops.add(by_load(grouped_gemm("routed fc1 fprop", shard.precision, size.local_experts, routed.rows,
                               2 * size.inter, size.hidden)));
  ops.add(scale_rows(routed, size.top_k));
  ops.add(by_load(swiglu("routed SwiGLU", KernelClass::kSwiglu, routed.rows, size.inter, fp8)));
  ops.add_if(fp8, weight_transpose("transpose routed fc2 weights", size.hidden, size.inter,
                                   size.local_experts));
  ops.add_if(fp8, by_load(copy_scales(routed.rows, size.inter)));
  ops.add_if(tensor, by_load(cast_both_ways("cast for routed fc2", routed.rows, size.inter)));
  ops.add(by_load(grouped_gemm("routed fc2 fprop", shard.precision, size.local_experts, routed.rows,
                               size.hidden, size.inter)));
  ops.add(by_load(reduce_rows(routed, size.hidden)));
  ops.expert_tensor_parallel(Pattern::kReduceScatter, routed.unique, DataType::kBf16,
                             "expert output");
  if (shared) {
    ops.add(swiglu("shared SwiGLU", KernelClass::kSwiglu, size.gathered, size.shared, fp8));
    ops.add_if(fp8, scale_transpose(size.gathered, size.shared));
    ops.add_if(tensor, cast_both_ways("cast for shared fc2", size.gathered, size.shared));
    ops.add(gemm("shared fc2 fprop", shard.precision, size.gathered, size.hidden, size.shared));
    ops.tensor_parallel(Pattern::kReduceScatter,
                        Bytes{size.local * (shard.tp - 1) * size.hidden * 2},
                        "shared expert output");
  }
  ops.add_if(fp8, by_load(cast("cast routed fc1 output for caching", routed.rows, 2 * size.inter)));
  ops.add_if(fp8 && shared,
             cast("cast shared fc1 output for caching", size.gathered, 2 * size.shared));
  // After the way back, in truth; the stream has it to do all the same.
  if (shard.all_to_all()) ops.add(reduce_rows(sent_rows(shard), size.hidden));
  return ops.take();
}

Steps experts_input_gradient(const Shard& shard) {
  const ExpertSizes size(shard);
  const RoutedRows& routed = shard.backward_rows;
  const bool fp8 = shard.fp8();
  const bool tensor = shard.fp8_tensor();
  const bool shared = size.shared > 0;
  const bool recompute = recomputes_mlp(shard.recompute);
  StepBuilder ops(shard, Component::kMlp);
  // Before they are sent, in truth, and summed after the way back.
  if (shard.all_to_all()) {
    ops.add(
        expand_rows("gradients in the order of their GPUs", sent_rows(shard), size.hidden, false));
    ops.add(reduce_rows(sent_rows(shard), size.hidden));
  }
  if (shared) {
    ops.tensor_parallel(Pattern::kAllGather,
                        Bytes{size.local * (shard.tp - 1) * size.hidden * (fp8 ? 1 : 2)},
                        "expert layer output gradient");
    ops.add_if(fp8, cast_back("cast shared fc1 output back", size.gathered, 2 * size.shared));
    ops.add_if(fp8, weight_transpose("transpose shared fc2 weight", size.hidden, size.shared));
    ops.add_if(fp8, scale_transpose(size.gathered, size.hidden));
    ops.add_if(tensor, cast_both_ways("cast shared dY", size.gathered, size.hidden));
    ops.add(gemm("shared fc2 dgrad", shard.precision, size.gathered, size.shared, size.hidden));
    ops.add_if(fp8, cast_transpose("cast and transpose shared dY", size.gathered, size.hidden));
    if (recompute) {
      ops.add(recomputed(swiglu("shared SwiGLU recompute", KernelClass::kSwigluTranspose,
                                size.gathered, size.shared, fp8)));
      ops.add_if(tensor,
                 recomputed(cast_both_ways("cast for shared fc2", size.gathered, size.shared)));
    }
    ops.add(streaming("shared SwiGLU backward", KernelClass::kSwigluBackward, DataType::kBf16,
                      DataType::kBf16, size.gathered, 2 * size.shared,
                      Bytes{size.gathered * size.shared * 10}));
  }
  ops.add_if(fp8, by_load(cast_back("cast routed fc1 output back", routed.rows, 2 * size.inter)));
  ops.expert_tensor_parallel(Pattern::kAllGather, routed.unique,
                             fp8 ? DataType::kFp8 : DataType::kBf16, "received gradients");
  ops.add(by_load(expand_rows("expand dispatched dY", routed, size.hidden, fp8)));
  ops.add_if(fp8, by_load(copy_scales(routed.rows, size.hidden)));
  ops.add_if(tensor, by_load(cast_both_ways("cast routed dY", routed.rows, size.hidden)));
  ops.add(by_load(grouped_gemm("routed fc2 dgrad", shard.precision, size.local_experts, routed.rows,
                               size.inter, size.hidden)));
  Op swiglu_backward =
      streaming("routed SwiGLU backward", KernelClass::kSwigluRecompute, DataType::kBf16,
                DataType::kBf16, routed.rows, 2 * size.inter, Bytes{routed.rows * size.inter * 12});
  swiglu_backward.recompute = recompute;
  swiglu_backward.routed = true;
  ops.add(swiglu_backward);
  ops.add(by_load(streaming("routing weight gradient", KernelClass::kRoutingWeightGradient,
                            DataType::kBf16, DataType::kFp32, routed.rows, size.inter,
                            Bytes{routed.rows * size.inter * 4})));
  ops.add_if(
      fp8, by_load(cast_transpose("cast and transpose routed fc2 input", routed.rows, size.inter)));
  ops.add(scale_rows(routed, size.top_k));
  if (recompute) {
    ops.add(recomputed(norm("pre-MoE norm recompute", size.local, size.hidden)));
    if (fp8) ops.add(recomputed(cast("cast recomputed MoE input", size.local, size.hidden)));
    ops.add_if(tensor,
               recomputed(by_load(cast_both_ways("cast for routed fc2", routed.rows, size.inter))));
  }
  ops.add_if(fp8, by_load(cast("cast routed dH", routed.rows, 2 * size.inter)));
  ops.add_if(fp8, by_load(copy_scales(routed.rows, 2 * size.inter)));
  ops.add_if(tensor, by_load(cast_both_ways("cast routed dH", routed.rows, 2 * size.inter)));
  ops.add(by_load(grouped_gemm("routed fc1 dgrad", shard.precision, size.local_experts, routed.rows,
                               size.hidden, 2 * size.inter)));
  ops.add(by_load(reduce_rows(routed, size.hidden)));
  ops.expert_tensor_parallel(Pattern::kReduceScatter, routed.unique, DataType::kBf16,
                             "expert input gradient");
  ops.add_if(fp8,
             by_load(cast_transpose("cast and transpose routed dH", routed.rows, 2 * size.inter)));
  if (shared) {
    if (!recomputes_experts(shard.recompute)) {
      ops.tensor_parallel(Pattern::kAllGather,
                          Bytes{size.local * (shard.tp - 1) * size.hidden * (fp8 ? 1 : 2)},
                          "shared expert input");
    }
    ops.add_if(fp8, cast_back("cast shared expert input back", size.gathered, size.hidden));
    ops.add_if(fp8, weight_transpose("transpose shared fc1 weight", 2 * size.shared, size.hidden));
    ops.add_if(fp8, cast("cast shared dH", size.gathered, 2 * size.shared));
    ops.add_if(fp8, scale_transpose(size.gathered, 2 * size.shared));
    ops.add_if(tensor, cast_both_ways("cast shared dH", size.gathered, 2 * size.shared));
    ops.add(gemm("shared fc1 dgrad", shard.precision, size.gathered, size.hidden, 2 * size.shared));
    ops.add_if(fp8, cast_transpose("cast and transpose shared dH", size.gathered, 2 * size.shared));
    ops.add_if(fp8, cast_transpose("cast and transpose shared X", size.gathered, size.hidden));
    ops.tensor_parallel(Pattern::kReduceScatter,
                        Bytes{size.local * (shard.tp - 1) * size.hidden * 2},
                        "shared expert input gradient");
  }
  return ops.take();
}

Steps router_input_gradient(const Shard& shard) {
  const ExpertSizes size(shard);
  StepBuilder ops(shard, Component::kAttention);
  ops.add(by_rows("router backward", KernelClass::kRouterBackward, size.local, 26));
  ops.add(gemm("router gate dgrad", Precision::kBf16, size.local, size.hidden, size.experts));
  Op gate = wgrad("router gate wgrad", Precision::kBf16, size.experts, size.hidden, size.local);
  gate.bytes -= Bytes{size.experts * size.hidden * 4};  // written, not accumulated
  ops.add(gate);
  ops.add(streaming("add MoE input gradients", KernelClass::kElementwise, DataType::kBf16,
                    DataType::kBf16, size.local, size.hidden, Bytes{size.local * size.hidden * 6}));
  ops.add(norm_backward("pre-MoE norm backward", size.local, size.hidden));
  ops.add(by_rows("norm weight gradient", KernelClass::kNormFinalize, 1));
  ops.add(small("accumulate norm gradient", 1));
  return ops.take();
}

Steps experts_weight_gradient(const Shard& shard) {
  const ExpertSizes size(shard);
  const RoutedRows& routed = shard.backward_rows;
  const double rows_per_expert = routed.rows / size.local_experts;
  const auto gathered = [&](std::string name) {
    return streaming(std::move(name), KernelClass::kCastTransposeGathered, DataType::kFp8,
                     DataType::kFp8, routed.rows, size.hidden,
                     Bytes{routed.rows * size.hidden * 2 + routed.rows * size.hidden / 128 * 8});
  };
  StepBuilder ops(shard, Component::kMlp);
  if (size.shared > 0) {
    ops.add(wgrad("shared fc2 wgrad", shard.precision, size.hidden, size.shared, size.gathered));
  }
  ops.add_if(shard.fp8(), by_load(gathered("cast and transpose routed dY")));
  ops.add(by_load(grouped_wgrad("routed fc2 wgrad", shard.precision, size.local_experts,
                                size.hidden, size.inter, rows_per_expert)));
  ops.add_if(shard.fp8(), by_load(gathered("cast and transpose routed X")));
  ops.add(by_load(grouped_wgrad("routed fc1 wgrad", shard.precision, size.local_experts,
                                2 * size.inter, size.hidden, rows_per_expert)));
  if (size.shared > 0) {
    ops.add(
        wgrad("shared fc1 wgrad", shard.precision, 2 * size.shared, size.hidden, size.gathered));
  }
  return ops.take();
}

Wire expert_exchange(const Shard& shard, Pattern pattern, int group_gpus_per_node) {
  const bool dispatch = pattern == Pattern::kDispatch || pattern == Pattern::kDispatchCached;
  const double hidden = shard.model.hidden;
  const double bytes_per_copy = dispatch && shard.fp8() ? hidden + hidden / 128 * 4 : hidden * 2;
  const double tokens = shard.local_tokens();
  const int in_node = std::clamp(group_gpus_per_node, 1, shard.ep);
  const bool across_nodes = shard.ep > in_node;
  Wire wire;
  wire.pattern = pattern;
  wire.group = shard.ep;
  if (shard.all_to_all()) {
    // As many rows to every GPU, its own among them.
    const Bytes rows{tokens * shard.model.moe.top_k * hidden * 2};
    wire.all_to_all = true;
    wire.logical = rows * (static_cast<double>(shard.ep - 1) / shard.ep);
    wire.nic = rows * (static_cast<double>(shard.ep - in_node) / shard.ep);
    wire.nvlink = rows * (static_cast<double>(in_node - 1) / shard.ep);
    return wire;
  }
  // DeepEP states its rates in bytes to all target nodes, the local one included; inside one node,
  // to all GPUs.
  wire.logical = Bytes{tokens * bytes_per_copy *
                       (across_nodes ? shard.spread.nodes_per_token : shard.spread.gpus_per_token)};
  wire.nic = Bytes{tokens * bytes_per_copy * shard.spread.remote_nodes_per_token};
  // A copy that lands on the GPU with the sender's index is already where one of every in_node
  // targets is.
  wire.nvlink =
      Bytes{tokens * bytes_per_copy * shard.spread.gpus_per_token * (in_node - 1) / in_node};
  return wire;
}

}  // namespace orrery
