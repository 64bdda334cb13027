// Attention with its scores in memory, as Megatron-LM computed it before it took FlashAttention:
// products in batches of heads, its fused scale, mask and softmax, dropout as a kernel of its own.
// Masked scores are multiplied like the others; the softmax kernels read the causal half and write
// all.
#include "workload/attention_parts.hpp"
#include "workload/op_factory.hpp"

namespace orrery {
namespace {

class Unfused {
 public:
  explicit Unfused(const Shard& shard)
      : heads_(shard.heads()),
        groups_(static_cast<int>(shard.heads() * shard.micro_batch)),
        queries_(shard.tokens * shard.heads()),
        keys_(shard.sequence * shard.micro_batch * shard.heads()),
        tokens_(shard.tokens),
        sequence_(shard.sequence),
        own_sequence_(shard.tokens / shard.micro_batch),
        qk_(shard.model.attention.qk_dim()),
        v_(shard.model.attention.v_dim) {}

  void forward(StepBuilder& ops, bool again) const {
    constexpr double kSoftmax = 3, kDropout = 5;
    const auto add = [&](Op op) { ops.add(again ? recomputed(std::move(op)) : std::move(op)); };
    add(product("attention scores", queries_, sequence_, qk_));
    add(scores("attention softmax", kSoftmax));
    add(scores("attention dropout", kDropout));
    add(product("attention context", queries_, v_, sequence_));
    add(copy("merge heads", tokens_, heads_ * v_));
  }

  void backward(StepBuilder& ops) const {
    constexpr double kSoftmax = 4, kDropout = 5;
    ops.add(copy("split heads", tokens_, heads_ * v_));
    ops.add(product("attention probability gradient", queries_, sequence_, v_));
    ops.add(product("attention value gradient", keys_, v_, own_sequence_));
    ops.add(scores("attention dropout backward", kDropout));
    ops.add(scores("attention softmax backward", kSoftmax));
    ops.add(product("attention query gradient", queries_, qk_, sequence_));
    ops.add(product("attention key gradient", keys_, qk_, own_sequence_));
  }

 private:
  Op product(std::string name, double m, double n, double k) const {
    Op op = grouped_gemm(std::move(name), Precision::kBf16, groups_, m, n, k);
    op.bytes = Bytes{2 * (m * k + m * n + groups_ * n * k)};
    return op;
  }
  // Softmax: half read and all written, BF16; its backward reads half of two. Dropout: BF16 read
  // and written, a byte of mask.
  Op scores(std::string name, double bytes_each) const {
    return streaming(std::move(name), KernelClass::kElementwise, DataType::kBf16, DataType::kBf16,
                     queries_, sequence_, Bytes{queries_ * sequence_ * bytes_each});
  }

  double heads_;
  int groups_;             // products in a batch: heads of all sequences
  double queries_, keys_;  // rows of all groups
  double tokens_, sequence_, own_sequence_;
  double qk_, v_;
};

}  // namespace

void add_unfused_forward(StepBuilder& ops, const Shard& shard) {
  Unfused(shard).forward(ops, false);
}

// What Megatron-LM's selective recomputation repeats is all of the forward: scores, softmax,
// dropout and context (arXiv 2205.05198, section 5).
void add_unfused_backward(StepBuilder& ops, const Shard& shard) {
  const Unfused attention(shard);
  if (recomputes_attention(shard.recompute)) attention.forward(ops, true);
  attention.backward(ops);
}

}  // namespace orrery
