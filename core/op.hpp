#pragma once
// One GPU kernel as far as its time depends on it: class, shape, FLOPs, bytes. Ops are grouped into
// a Work (core/program.hpp); their times come from a CostSource (sim/cost_source.hpp).
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/quantity.hpp"

namespace orrery {

// Kernels that share a rate law. The names in the comments are the keys of the calibration tables.
enum class KernelClass : std::uint8_t {
  kGemm,                   // gemm: forward or input gradient, D[M,N] = A[M,K] B[K,N]
  kGroupedGemm,            // gemm-grouped: M rows in all over `groups` experts
  kWgrad,                  // wgrad: D[M,N] += A[K,M]^T B[K,N] into an FP32 accumulator
  kGroupedWgrad,           // wgrad-grouped: K is tokens per expert
  kAttentionForward,       // attention-forward: causal, M = N = sequence, groups = heads
  kAttentionBackward,      // attention-backward: main kernel, five matrix products
  kAttentionBackwardPre,   // attention-backward-pre: delta, clear dQ
  kAttentionBackwardPost,  // attention-backward-post: dQ to BF16
  kCast,                   // cast: BF16 to FP8 with 1x128 scales
  kCastBack,               // cast-back: FP8 to BF16
  kCastE5m6,               // cast-e5m6: BF16 to E5M6
  kCastBackE5m6,           // cast-back-e5m6
  kCastTranspose,          // cast-transpose: BF16 to FP8, transposed (operand of a weight gradient)
  kCastTransposeGathered,  // cast-transpose-gathered: FP8 rows gathered by expert, then the same
  kWeightTranspose,        // weight-transpose: FP8 weight
  kScaleTranspose,         // scale-transpose: FP32 scales of an activation
  kNorm,                   // norm: RMSNorm forward
  kNormBackward,           // norm-backward
  kNormFinalize,           // norm-finalize: weight gradient of a norm, from partial sums
  kRope,                   // rope
  kSwiglu,                 // swiglu: forward and cast to FP8
  kSwigluTranspose,        // swiglu-transpose: recomputed forward, cast and transposed
  kSwigluBackward,         // swiglu-backward
  kSwigluRecompute,        // swiglu-recompute: forward again and backward, with routing weight
  kRoutingWeightGradient,  // routing-weight-gradient
  kExpand,                 // expand: received tokens to expert rows
  kReduce,                 // reduce: expert rows to received tokens
  kCopy,                   // copy: contiguous runs
  kCopyBroadcast,          // copy-broadcast: one rope key to all heads (strided)
  kElementwise,            // elementwise: add, scale
  kHeadReduce,             // head-reduce: sum over heads
  kRouterTopk,             // router-topk: amount is rows
  kRouterSmall,            // router-small: sigmoid, masks, counters; amount is rows
  kRouterBackward,         // router-backward: amount is rows
  kExpertCount,            // expert-count: amount is rows
  kExpertMapping,          // expert-mapping: amount is rows
  kSmall,                  // small: latency-bound launches; amount is launches
  kEmbeddingLookup,        // embedding: gather, or scatter-add in the backward
  kCrossEntropy,           // cross-entropy: loss and gradient of the logits
  kOptimizer,              // optimizer: AdamW on a shard
  kHostCopy,               // host-copy: between GPU and host memory; the cluster's PCIe
  kHostUpdate,             // host-update: AdamW on a shard by the CPUs; the cluster's host memory
  kCount
};

// kFp8 has a scale for 128 elements or a block of them, kFp8Tensor one for the whole.
enum class DataType : std::uint8_t { kNone, kFp8, kBf16, kFp32, kE5m6, kFp8Tensor };

// How the time of a kernel is found: by shape, by attention's FLOPs, or by what it streams.
enum class KernelKind : std::uint8_t { kGemm, kAttention, kStreaming };

constexpr KernelKind kernel_kind(KernelClass kernel) {
  switch (kernel) {
    case KernelClass::kGemm:
    case KernelClass::kGroupedGemm:
    case KernelClass::kWgrad:
    case KernelClass::kGroupedWgrad: return KernelKind::kGemm;
    case KernelClass::kAttentionForward:
    case KernelClass::kAttentionBackward: return KernelKind::kAttention;
    default: return KernelKind::kStreaming;
  }
}

// Bytes of one element, scales not counted (E5M6: 12 bits).
constexpr double bytes_per_element(DataType type) {
  switch (type) {
    case DataType::kFp8:
    case DataType::kFp8Tensor: return 1;
    case DataType::kE5m6: return 1.5;
    case DataType::kBf16: return 2;
    case DataType::kFp32: return 4;
    case DataType::kNone: break;
  }
  return 0;
}

// Forward, input gradient (recompute and the router's weight gradient included), weight gradient.
enum class Pass : std::uint8_t { kF, kI, kW };

struct Op {
  std::string name;  // for people: "q_up fprop"
  KernelClass kernel = KernelClass::kGemm;
  DataType in = DataType::kNone;
  DataType out = DataType::kNone;
  double m = 0;      // GEMM: rows; else rows of the tensor processed
  double n = 0;      // GEMM: outputs; else columns
  double k = 0;      // GEMM: inner dimension; attention: d_qk
  int groups = 1;    // experts of a grouped GEMM; heads of an attention
  int launches = 1;  // kernels
  bool recompute = false;
  bool routed = false;  // m (k of a weight gradient) are rows of the routed experts
  Flops flops;
  Bytes bytes;  // HBM traffic: every operand and result once
  bool operator==(const Op&) const = default;

  // What the calibration tables are indexed by: bytes, or rows / launches for kernels without a
  // byte model.
  double amount() const;
};

std::string_view to_string(KernelClass kernel);
// The class of that name, or nothing: to_string read backwards.
std::optional<KernelClass> kernel_class(std::string_view name);
std::string_view to_string(DataType type);
std::string_view to_string(Pass pass);

}  // namespace orrery
