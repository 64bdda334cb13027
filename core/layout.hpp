#pragma once
// How a model is spread over GPUs. dp = GPUs / (pp * tp * cp). Expert parallelism lies inside dp x
// cp and, where it is more than that, across the blocks of etp GPUs of a tensor-parallel group
// (Megatron's parallel folding, arXiv 2504.14960).
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace orrery {

// One entry of a stage map. Letters as in the map's text form.
enum class LayerKind {
  kEmbedding,  // E
  kDense,      // d: a layer with a dense MLP
  kMoe,        // t: a layer with experts
  kMtp,   // m: one multi-token-prediction module (projection, MoE layer, its output head and loss)
  kHead,  // L: final norm, output head and loss
};

// Which layers each stage holds, in model order: stage_map[stage] lists its entries.
// Text form: "E,3d,1t | 4t x 14 | 1t,m,L" (core/stage_map.hpp).
using StageMap = std::vector<std::vector<LayerKind>>;

enum class Precision {
  kFp8,  // E4M3 GEMMs with 1x128 / 128x128 scales (DeepSeek-V3 report, section 3.3); head, router,
         // norms in BF16
  kBf16,
  kFp8Tensor,  // FP8 GEMMs with one scale a tensor, known before the cast (Transformer Engine's
               // delayed scaling; arXiv 2209.05433); the rest, exchanges of experts too, in BF16
};
constexpr bool is_fp8(Precision precision) {
  return precision != Precision::kBf16;
}

// How the attention of queries, keys and values is computed.
enum class AttentionKernels {
  kFused,    // FlashAttention: scores never leave the chip
  kUnfused,  // products, softmax and dropout apart, with the scores in memory: Megatron-LM before
             // it took FlashAttention (arXiv 2205.05198, section 4)
};

// What carries the rows of experts between GPUs.
enum class ExchangeKernels {
  kDeepEp,  // a token once to a node, spread there over NVLink, and summed on the way back
  kNccl,  // NCCL's all-to-all, as Megatron-Core's dispatcher "alltoall": a row for every expert of
          // a token, in BF16, put in order before and summed after by kernels of their own
};

// When a full backward computes the weight gradients of a layer with experts.
enum class WeightGradients {
  kBeside,  // beside the exchanges, which they hide
  kInline,  // after the input gradients of each part, as autograd runs them: exchanges stand alone
};

enum class Recompute {
  kNone,
  kSelective,  // DeepSeek-V3 report, section 3.2.3: RMSNorm, MLA up-projections, SwiGLU output
  kFull,       // every layer recomputed from its input
  kAttention,  // of the selective set, what belongs to attention: its norms and up-projections
  kMlp,        // of the selective set, the rest: the norm before the MLP and SwiGLU output
  kExperts,    // the selective set, and experts anew from their input, dispatch with them; the
               // router's choice is kept (Megatron-Core's module "moe")
};
// Whether attention's part of the selective set is recomputed by itself, and the MLP's, by itself
// or with the whole layer.
constexpr bool recomputes_attention(Recompute set) {
  return set == Recompute::kSelective || set == Recompute::kAttention || set == Recompute::kExperts;
}
constexpr bool recomputes_mlp(Recompute set) {
  return set != Recompute::kNone && set != Recompute::kAttention;
}
// Whether experts keep their input alone.
constexpr bool recomputes_experts(Recompute set) {
  return set == Recompute::kFull || set == Recompute::kExperts;
}

// Where a state of training lies that no kernel of a micro-batch reads.
enum class Keep { kGpu, kCpu };

struct Layout {
  int pp = 1;
  int tp = 1;  // with sequence parallelism: norms, router and casts run on tokens / tp
  int cp = 1;
  int ep = 1;
  int etp = 1;  // tensor parallelism inside an expert; divides tp
  int dp = 1;
  int vpp = 1;  // chunks a rank in an interleaved schedule
  int zero_stage = 1;
  int micro_batch = 1;  // sequences
  int comm_sms = 20;    // SMs lent to communication kernels while they run beside compute
  Precision precision = Precision::kFp8;
  Recompute recompute = Recompute::kSelective;
  AttentionKernels attention = AttentionKernels::kFused;
  ExchangeKernels exchange = ExchangeKernels::kDeepEp;
  WeightGradients weights = WeightGradients::kBeside;
  // Master weights and moments, and where they lie the update runs.
  Keep optimizer = Keep::kGpu;
  // An exponential moving average of the weights in FP32, divided as the optimizer's states are. On
  // the CPU it is updated beside the next step (DeepSeek-V3 report, section 3.2.3) and costs no
  // time.
  Keep ema = Keep::kCpu;
  StageMap stage_map;  // pp stages (pp * vpp when interleaved)

  int gpus() const { return pp * tp * cp * dp; }
  bool operator==(const Layout&) const = default;
};

// Blocks of etp tensor-parallel GPUs in an expert-parallel group over `replicas` = dp * cp: the
// factor of ep that does not divide the replicas. 8 replicas hold ep = 8 with one block each of
// their own (1); ep = 16 takes two neighbouring blocks of each (2). It divides tp / etp.
constexpr int expert_fold(int ep, int replicas) {
  return ep / std::gcd(ep, replicas);
}
constexpr int expert_fold(const Layout& layout) {
  return expert_fold(layout.ep, layout.dp * layout.cp);
}

std::string_view to_string(Precision precision);
std::string_view to_string(Recompute recompute);
std::string_view to_string(AttentionKernels kernels);
std::string_view to_string(ExchangeKernels kernels);
std::string_view to_string(WeightGradients order);
std::string_view to_string(Keep keep);
char letter(LayerKind kind);
// "pp=16 ep=64 dp=128", dimensions that are 1 left out (pp, ep and dp always shown; dp not where it
// is not known yet).
std::string describe(const Layout& layout);

}  // namespace orrery
