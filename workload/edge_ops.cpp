#include "workload/edge_ops.hpp"

#include "workload/op_factory.hpp"

namespace orrery {
namespace {

Op elementwise(std::string name, double rows, double columns, double bytes_per_item) {
  return streaming(std::move(name), KernelClass::kElementwise, DataType::kBf16, DataType::kBf16,
                   rows, columns, Bytes{rows * columns * bytes_per_item});
}

// Reads what fc1 made and writes what fc2 reads, with its scales in FP8.
Op activation_forward(const Shard& shard, double rows, KernelClass kernel) {
  const bool fp8 = shard.fp8();
  const double inter = shard.dense_inter();
  const double read = rows * shard.dense_fc1() * 2;
  return streaming(shard.model.gated_mlp ? "dense SwiGLU" : "dense activation", kernel,
                   DataType::kBf16, fp8 ? DataType::kFp8 : DataType::kBf16, rows, inter,
                   Bytes{read + (fp8 ? rows * inter + rows * inter / 128 * 4 : rows * inter * 2)});
}

// The vocabulary is divided over the tensor-parallel GPUs: each looks up the tokens of all of them
// that fall into its part, and the sums are scattered.
void lookup(StepBuilder& ops, const Shard& shard) {
  const double hidden = shard.model.hidden;
  ops.add(streaming("embedding lookup", KernelClass::kEmbeddingLookup, DataType::kBf16,
                    DataType::kBf16, shard.tokens, hidden, Bytes{shard.tokens * hidden * 4}));
  ops.tensor_parallel(Pattern::kReduceScatter, gathered(shard, hidden), "embedding");
}

// Gradient in BF16, accumulated into FP32 rows that are read and written.
Op lookup_gradient(const Shard& shard) {
  const double hidden = shard.model.hidden;
  return streaming("embedding gradient", KernelClass::kEmbeddingLookup, DataType::kBf16,
                   DataType::kFp32, shard.tokens, hidden, Bytes{shard.tokens * hidden * 10});
}

// BF16 whatever the layout's precision: embedding, head and the MTP projection's surroundings are
// not quantised (DeepSeek-V3 report, section 3.3.1).
constexpr Precision kUnquantised = Precision::kBf16;

}  // namespace

Steps dense_mlp_forward(const Shard& shard) {
  const double hidden = shard.model.hidden;
  const double inter = shard.dense_inter();
  const double fc1 = shard.dense_fc1();
  const double tokens = shard.tokens;
  StepBuilder ops(shard, Component::kMlp);
  ops.add(norm("pre-MLP norm", shard.local_tokens(), hidden));
  ops.tensor_parallel(Pattern::kAllGather, gathered_operand(shard, hidden), "normed MLP input");
  ops.cast_normed("cast for fc1", tokens, hidden);
  ops.add(gemm("dense fc1 fprop", shard.precision, tokens, fc1, hidden));
  ops.add(activation_forward(shard, tokens, KernelClass::kSwiglu));
  ops.add_if(shard.fp8(), scale_transpose(tokens, inter));
  ops.add_if(shard.fp8_tensor(), cast_both_ways("cast for fc2", tokens, inter));
  ops.add(gemm("dense fc2 fprop", shard.precision, tokens, hidden, inter));
  ops.add_if(shard.fp8(), cast("cast fc1 output for caching", tokens, fc1));
  ops.tensor_parallel(Pattern::kReduceScatter, gathered(shard, hidden), "MLP output");
  ops.add(elementwise("add residual", shard.local_tokens(), hidden, 6));
  return ops.take();
}

Steps dense_mlp_input_gradient(const Shard& shard) {
  const double hidden = shard.model.hidden;
  const double inter = shard.dense_inter();
  const double fc1 = shard.dense_fc1();
  const double tokens = shard.tokens;
  const bool fp8 = shard.fp8();
  const bool recompute = recomputes_mlp(shard.recompute);
  StepBuilder ops(shard, Component::kMlp);
  ops.gather_gradient("MLP output gradient", hidden);
  ops.add_if(fp8, cast_back("cast fc1 output back", tokens, fc1));
  ops.add_if(fp8, weight_transpose("transpose fc2 weight", hidden, inter));
  ops.cast_gathered("cast dY", hidden);
  ops.add(gemm("dense fc2 dgrad", shard.precision, tokens, inter, hidden));
  ops.add_if(fp8, cast_transpose("cast and transpose dY", tokens, hidden));
  if (recompute) {
    ops.add(recomputed(activation_forward(shard, tokens, KernelClass::kSwigluTranspose)));
    ops.add_if(shard.fp8_tensor(), recomputed(cast_both_ways("cast for fc2", tokens, inter)));
  }
  // Reads the gradient of its result and what fc1 made, and writes the gradient of that.
  ops.add(streaming(shard.model.gated_mlp ? "dense SwiGLU backward" : "dense activation backward",
                    KernelClass::kSwigluBackward, DataType::kBf16, DataType::kBf16, tokens, fc1,
                    Bytes{tokens * (inter + 2 * fc1) * 2}));
  ops.cast_operand("cast dH", tokens, fc1);
  ops.add_if(fp8, weight_transpose("transpose fc1 weight", fc1, hidden));
  ops.add(gemm("dense fc1 dgrad", shard.precision, tokens, hidden, fc1));
  ops.add_if(fp8, cast_transpose("cast and transpose dH", tokens, fc1));
  ops.tensor_parallel(Pattern::kReduceScatter, gathered(shard, hidden),
                      "normed MLP input gradient");
  ops.add_if(recompute, recomputed(norm("pre-MLP norm recompute", shard.local_tokens(), hidden)));
  ops.tensor_parallel(Pattern::kAllGather, gathered_operand(shard, hidden), "normed MLP input");
  ops.transpose_normed("cast and transpose X", tokens, hidden);
  ops.add(norm_backward("pre-MLP norm backward", shard.local_tokens(), hidden));
  ops.add(by_rows("norm weight gradient", KernelClass::kNormFinalize, 1));
  ops.add(small("accumulate norm gradient", 1));
  ops.add(elementwise("add residual gradient", shard.local_tokens(), hidden, 6));
  return ops.take();
}

Steps dense_mlp_weight_gradient(const Shard& shard) {
  StepBuilder ops(shard, Component::kMlp);
  ops.add(wgrad("dense fc2 wgrad", shard.precision, shard.model.hidden, shard.dense_inter(),
                shard.tokens));
  ops.add(wgrad("dense fc1 wgrad", shard.precision, shard.dense_fc1(), shard.model.hidden,
                shard.tokens));
  return ops.take();
}

Steps embedding_forward(const Shard& shard) {
  StepBuilder ops(shard, Component::kEmbedding);
  lookup(ops, shard);
  return ops.take();
}

Steps embedding_input_gradient(const Shard& shard) {
  StepBuilder ops(shard, Component::kEmbedding);
  ops.tensor_parallel(Pattern::kAllGather, gathered(shard, shard.model.hidden),
                      "embedding gradient");
  return ops.take();
}

Steps embedding_weight_gradient(const Shard& shard) {
  StepBuilder ops(shard, Component::kEmbedding);
  ops.add(lookup_gradient(shard));
  return ops.take();
}

Steps mtp_projection_forward(const Shard& shard) {
  const double hidden = shard.model.hidden;
  const double rows = shard.local_tokens();
  StepBuilder ops(shard, Component::kMtpProjection);
  lookup(ops, shard);
  ops.add(norm("MTP hidden norm", rows, hidden));
  ops.add(norm("MTP embedding norm", rows, hidden));
  ops.add(copy("concatenate", rows, 2 * hidden));
  ops.cast_operand("cast for MTP projection", rows, 2 * hidden);
  ops.add(gemm("MTP projection fprop", shard.precision, rows, hidden, 2 * hidden));
  return ops.take();
}

Steps mtp_projection_input_gradient(const Shard& shard) {
  const double hidden = shard.model.hidden;
  const double rows = shard.local_tokens();
  const bool fp8 = shard.fp8();
  StepBuilder ops(shard, Component::kMtpProjection);
  ops.cast_operand("cast dY", rows, hidden);
  ops.add_if(fp8, weight_transpose("transpose MTP projection weight", hidden, 2 * hidden));
  ops.add(gemm("MTP projection dgrad", shard.precision, rows, 2 * hidden, hidden));
  ops.add_if(fp8, cast_transpose("cast and transpose X", rows, 2 * hidden));
  ops.add_if(fp8, cast_transpose("cast and transpose dY", rows, hidden));
  ops.add(norm_backward("MTP hidden norm backward", rows, hidden));
  ops.add(norm_backward("MTP embedding norm backward", rows, hidden));
  ops.add(by_rows("norm weight gradient", KernelClass::kNormFinalize, 1));
  ops.add(by_rows("norm weight gradient", KernelClass::kNormFinalize, 1));
  ops.tensor_parallel(Pattern::kAllGather, gathered(shard, hidden), "embedding gradient");
  return ops.take();
}

Steps mtp_projection_weight_gradient(const Shard& shard) {
  const double hidden = shard.model.hidden;
  StepBuilder ops(shard, Component::kMtpProjection);
  ops.add(wgrad("MTP projection wgrad", shard.precision, hidden, 2 * hidden, shard.local_tokens()));
  ops.add(lookup_gradient(shard));
  return ops.take();
}

Steps head_forward(const Shard& shard) {
  StepBuilder ops(shard, Component::kHead);
  ops.add(norm("final norm", shard.local_tokens(), shard.model.hidden));
  ops.tensor_parallel(Pattern::kAllGather, gathered(shard, shard.model.hidden),
                      "normed head input");
  ops.add(gemm("output head fprop", kUnquantised, shard.tokens, shard.vocab(), shard.model.hidden));
  // One pass for the log-sum-exp, one that overwrites the logits with their gradient. Where the
  // vocabulary is divided, maximum, sum and target logit of each part meet in between.
  const auto pass = [&](std::string name, double bytes) {
    return streaming(std::move(name), KernelClass::kCrossEntropy, DataType::kBf16, DataType::kBf16,
                     shard.tokens, shard.vocab(), Bytes{shard.tokens * shard.vocab() * bytes});
  };
  if (shard.tp == 1) {
    ops.add(pass("cross-entropy", 6));
  } else {
    ops.add(pass("cross-entropy statistics", 2));
    ops.tensor_parallel(Pattern::kAllGather, Bytes{shard.tokens * 3 * 4 * (shard.tp - 1)},
                        "logit statistics");
    ops.add(pass("cross-entropy gradient", 4));
  }
  return ops.take();
}

Steps head_input_gradient(const Shard& shard) {
  StepBuilder ops(shard, Component::kHead);
  ops.add(gemm("output head dgrad", kUnquantised, shard.tokens, shard.model.hidden, shard.vocab()));
  ops.tensor_parallel(Pattern::kReduceScatter, gathered(shard, shard.model.hidden),
                      "normed head input gradient");
  ops.add(norm_backward("final norm backward", shard.local_tokens(), shard.model.hidden));
  ops.add(by_rows("norm weight gradient", KernelClass::kNormFinalize, 1));
  return ops.take();
}

Steps head_weight_gradient(const Shard& shard) {
  StepBuilder ops(shard, Component::kHead);
  ops.add(
      wgrad("output head wgrad", kUnquantised, shard.vocab(), shard.model.hidden, shard.tokens));
  return ops.take();
}

Op gradient_norm(const Training& training, double parameters) {
  return streaming("gradient norm", KernelClass::kOptimizer, DataType::kFp32, DataType::kFp32,
                   parameters, 1, Bytes{parameters * bytes_of(training.gradient)});
}

namespace {

// Of a weight: its gradient read, master and moments read and written, the compute weight written.
double updated_bytes(const Training& training) {
  return bytes_of(training.gradient) + 2 * bytes_of(training.master) +
         4 * bytes_of(training.moments) + bytes_per_element(DataType::kBf16);
}

}  // namespace

Op weight_cast(double parameters) {
  return cast_both_ways("cast weights", parameters, 1);
}

Op optimizer_update(const Training& training, double parameters) {
  return streaming("AdamW update", KernelClass::kOptimizer, DataType::kFp32, DataType::kBf16,
                   parameters, 1, Bytes{parameters * updated_bytes(training)});
}

std::vector<Op> host_optimizer_update(const Training& training, double parameters) {
  const auto moved = [&](const char* name, double bytes_each) {
    return streaming(name, KernelClass::kHostCopy, DataType::kNone, DataType::kNone, parameters, 1,
                     Bytes{parameters * bytes_each});
  };
  return {moved("gradients to the host", bytes_of(training.gradient)),
          streaming("AdamW update by the CPUs", KernelClass::kHostUpdate, DataType::kFp32,
                    DataType::kBf16, parameters, 1, Bytes{parameters * updated_bytes(training)}),
          moved("weights from the host", bytes_per_element(DataType::kBf16))};
}

Op ema_update(double parameters) {
  const double bytes = bytes_per_element(DataType::kBf16) + 2 * bytes_per_element(DataType::kFp32);
  return streaming("moving average of the weights", KernelClass::kOptimizer, DataType::kBf16,
                   DataType::kFp32, parameters, 1, Bytes{parameters * bytes});
}

}  // namespace orrery
