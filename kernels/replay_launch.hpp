#pragma once
// Which CUDA kernel carries out an op in a replay, at which shape: an op of a Program says what a
// step costs, in the kernels of a calibration (sim/measured_calibration.hpp has the benchmarks that
// they are measured by). Where the kernels of kernels/cuda have none for an op, something of the
// same size stands in, and says so.
//
// Products take shapes that cuBLASLt has kernels for: of FP8 multiples of 128 (of 8 for the result
// of a weight gradient), of BF16 of 8; what is smaller is padded.
#include <cstdint>
#include <string>

#include "core/op.hpp"

namespace orrery {

enum class LaunchKind {
  kNothing,           // done by the kernel of another op
  kProduct,           // D[m][n] (+)= A[m][k] B[n][k]^T, `groups` of them
  kAttentionForward,  // of m tokens in sequences of n, `groups` heads
  kAttentionBackward,
  kNorm,          // m rows of n
  kNormBackward,  // input and weight gradient
  kQuantiseRows,  // m rows of n
  kQuantiseColumns,
  kSwiglu,  // m rows to n
  kSwigluToFp8,
  kSwigluBackward,
  kExpandRows,    // m rows of n BF16 out of k tokens
  kReduceRows,    // m rows of n BF16 into k tokens
  kRope,          // m rows of `groups` heads, n rotated
  kRouter,        // m tokens
  kCrossEntropy,  // m tokens of n logits
  kAdamw,         // m parameters
  kCopy,          // `bytes` from one place to another
};

struct ReplayLaunch {
  LaunchKind kind = LaunchKind::kNothing;
  std::int64_t m = 0, n = 0, k = 0;
  int groups = 1;
  int qk_dim = 0, v_dim = 0;     // attention
  bool fp8 = false;              // products
  bool weight_gradient = false;  // products: D is FP32 and added to
  std::int64_t bytes = 0;        // of a copy, of its result: as many read as written
  int times = 1;                 // one after the other
  // What it does instead where there is no kernel for the op; else empty.
  std::string stand_in;
  bool operator==(const ReplayLaunch&) const = default;
};

// Throws std::runtime_error for what nothing can stand in for: attention with a part of a sequence.
ReplayLaunch replay_launch(const Op& op);

}  // namespace orrery
