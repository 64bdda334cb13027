#include "kernels/replay_launch.hpp"

#include <cmath>
#include <stdexcept>

namespace orrery {
namespace {

constexpr std::int64_t kTile = 128;         // elements of a scale
constexpr std::int64_t kLanes = 8;          // BF16 elements that kernels read at once
constexpr std::int64_t kMostNormed = 8192;  // columns (kernels/cuda/rms_norm.hpp)
constexpr std::int64_t kRotated = 64;       // of a head of DeepSeek-V3
constexpr std::int64_t kVector = 16;        // bytes

std::int64_t up_to(double count, std::int64_t multiple) {
  return (static_cast<std::int64_t>(std::llround(count)) + multiple - 1) / multiple * multiple;
}

ReplayLaunch shaped(LaunchKind kind, std::int64_t m, std::int64_t n, std::int64_t k = 0) {
  ReplayLaunch launch;
  launch.kind = kind;
  launch.m = m;
  launch.n = n;
  launch.k = k;
  return launch;
}

ReplayLaunch copy_of(double bytes, std::string stand_in) {
  ReplayLaunch launch;
  launch.kind = LaunchKind::kCopy;
  launch.bytes = up_to(bytes / 2, kVector);
  launch.stand_in = std::move(stand_in);
  return launch;
}

ReplayLaunch copy_of_bytes(const Op& op) {
  return copy_of(op.bytes.value(), "a copy of as many bytes");
}

ReplayLaunch padded(ReplayLaunch launch, double n) {
  if (static_cast<double>(launch.n) != n) launch.stand_in = "padded to multiples of 128";
  return launch;
}

ReplayLaunch product(const Op& op) {
  const bool weight = op.kernel == KernelClass::kWgrad || op.kernel == KernelClass::kGroupedWgrad;
  const bool fp8 = op.in == DataType::kFp8 || op.in == DataType::kFp8Tensor;
  const std::int64_t inner = fp8 ? kTile : kLanes;
  const double rows = weight ? op.m : op.m / op.groups;  // of one group
  ReplayLaunch launch = shaped(LaunchKind::kProduct, up_to(rows, kLanes),
                               up_to(op.n, fp8 && !weight ? kTile : kLanes), up_to(op.k, inner));
  launch.groups = op.groups;
  launch.fp8 = fp8;
  launch.weight_gradient = weight;
  if (op.in == DataType::kFp8Tensor) {
    launch.stand_in = "a product with a scale for 128 elements";
  } else if (static_cast<double>(launch.m) != rows || static_cast<double>(launch.n) != op.n ||
             static_cast<double>(launch.k) != op.k) {
    launch.stand_in = "padded to multiples of 128";
  }
  return launch;
}

// FLOPs of an op over m n heads: forward d_qk + d_v, backward 3 d_qk + 2 d_v.
ReplayLaunch attention(const Op& op) {
  const double each = op.flops.value() / (op.m * op.n * op.groups);
  const bool backward = op.kernel == KernelClass::kAttentionBackward;
  ReplayLaunch launch =
      shaped(backward ? LaunchKind::kAttentionBackward : LaunchKind::kAttentionForward,
             std::llround(op.m), std::llround(op.n));
  if (launch.n == 0 || launch.m % launch.n != 0)
    throw std::runtime_error("no kernel computes attention of a part of a sequence: '" + op.name +
                             "'; plan without context parallelism");
  launch.groups = op.groups;
  launch.qk_dim = static_cast<int>(std::lround(op.k));
  launch.v_dim = static_cast<int>(std::lround(backward ? (each - 3 * op.k) / 2 : each - op.k));
  return launch;
}

ReplayLaunch normed(const Op& op, LaunchKind kind) {
  if (up_to(op.n, kLanes) > kMostNormed) return copy_of_bytes(op);
  return shaped(kind, std::llround(op.m), up_to(op.n, kLanes));
}

// Rows of any type as BF16 of as many bytes. An op counts rows and tokens once each.
ReplayLaunch permuted(const Op& op, LaunchKind kind) {
  const double scales = op.in == DataType::kFp8 ? op.n / kTile * 4 : 0;
  const double row = op.n * bytes_per_element(op.in) + scales;
  const double tokens = op.bytes.value() / row - op.m;
  return shaped(kind, std::llround(op.m), up_to(row / 2, kLanes),
                std::max<std::int64_t>(1, std::llround(tokens)));
}

ReplayLaunch rotated(const Op& op) {
  const std::int64_t width = up_to(op.n, kLanes);
  const std::int64_t heads = width % kRotated == 0 ? width / kRotated : 1;
  ReplayLaunch launch = shaped(LaunchKind::kRope, std::llround(op.m), width / heads);
  launch.groups = static_cast<int>(heads);
  return launch;
}

// Kernels without a byte model: what they read of a row at least.
ReplayLaunch by_rows(const Op& op, double bytes_a_row) {
  ReplayLaunch launch = copy_of(2 * op.m * bytes_a_row, "copies of a few bytes a row");
  launch.times = op.launches;
  return launch;
}

ReplayLaunch optimizer(const Op& op) {
  constexpr double kUpdated = 20;  // bytes of a parameter that is updated, at least
  if (op.bytes.value() < kUpdated * op.m) return copy_of_bytes(op);
  return shaped(LaunchKind::kAdamw, up_to(op.m, kLanes), 1);
}

}  // namespace

ReplayLaunch replay_launch(const Op& op) {
  switch (op.kernel) {
    case KernelClass::kGemm:
    case KernelClass::kGroupedGemm:
    case KernelClass::kWgrad:
    case KernelClass::kGroupedWgrad: return product(op);
    case KernelClass::kAttentionForward:
    case KernelClass::kAttentionBackward: return attention(op);
    // Within those of cuDNN, of kernels/cuda/rms_norm.hpp and of kernels/cuda/router.hpp.
    case KernelClass::kAttentionBackwardPre:
    case KernelClass::kAttentionBackwardPost:
    case KernelClass::kNormFinalize:
    case KernelClass::kRouterTopk: return {};
    case KernelClass::kNorm: return normed(op, LaunchKind::kNorm);
    case KernelClass::kNormBackward: return normed(op, LaunchKind::kNormBackward);
    case KernelClass::kCast:
      return padded(shaped(LaunchKind::kQuantiseRows, std::llround(op.m), up_to(op.n, kTile)),
                    op.n);
    case KernelClass::kCastTranspose:
      if (op.out == DataType::kFp8Tensor) return copy_of_bytes(op);
      return padded(shaped(LaunchKind::kQuantiseColumns, up_to(op.m, kTile), up_to(op.n, kTile)),
                    op.n);
    case KernelClass::kSwiglu:
      if (op.out == DataType::kFp8)
        return padded(shaped(LaunchKind::kSwigluToFp8, std::llround(op.m), up_to(op.n, kTile)),
                      op.n);
      return shaped(LaunchKind::kSwiglu, std::llround(op.m), up_to(op.n, kLanes));
    case KernelClass::kSwigluBackward:
      return shaped(LaunchKind::kSwigluBackward, std::llround(op.m), up_to(op.n / 2, kLanes));
    case KernelClass::kExpand: return permuted(op, LaunchKind::kExpandRows);
    case KernelClass::kReduce: return permuted(op, LaunchKind::kReduceRows);
    case KernelClass::kRope: return rotated(op);
    case KernelClass::kRouterSmall: return shaped(LaunchKind::kRouter, std::llround(op.m), 0);
    case KernelClass::kRouterBackward: return by_rows(op, 1024);
    case KernelClass::kExpertCount:
    case KernelClass::kExpertMapping: return by_rows(op, 64);
    case KernelClass::kCrossEntropy:
      // Of a divided vocabulary each pass is an op of its own.
      if (op.bytes.value() < 6 * op.m * op.n) return copy_of_bytes(op);
      return shaped(LaunchKind::kCrossEntropy, std::llround(op.m), up_to(op.n, kLanes));
    case KernelClass::kOptimizer: return optimizer(op);
    case KernelClass::kSmall: {
      ReplayLaunch launch = copy_of(2 * kVector, "copies of 16 bytes");
      launch.times = op.launches;
      return launch;
    }
    case KernelClass::kCopy: {
      ReplayLaunch launch = copy_of_bytes(op);
      launch.stand_in.clear();
      return launch;
    }
    default: return copy_of_bytes(op);
  }
}

}  // namespace orrery
