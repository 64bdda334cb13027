#include "kernels/cuda/replay_kernels.hpp"

#include <cmath>

#include "kernels/cuda/attention.hpp"
#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/replay_operands.cuh"

namespace orrery::cuda {

ReplayKernels::ReplayKernels(ProductSms told, std::int64_t room, Stream stream)
    : told_(told),
      stream_(stream),
      multiplies_fp8_(multiplies_fp8()),
      operands_(std::make_unique<ReplayOperands>(room, stream)),
      lt_(std::make_unique<LtLibrary>()),
      cudnn_(std::make_unique<CudnnLibrary>()) {
  check(cudaDeviceGetAttribute(&sms_, cudaDevAttrMultiProcessorCount, 0), "number of SMs");
}

ReplayKernels::~ReplayKernels() = default;

void ReplayKernels::make(const KernelCall& call) {
  Launch& made = launches_[{call.op, call.lent_sms, call.layer}];
  if (made) return;
  const ReplayLaunch launch = replay_launch(*call.op);
  switch (launch.kind) {
    case LaunchKind::kProduct: made = product(launch, call); break;
    case LaunchKind::kAttentionForward:
    case LaunchKind::kAttentionBackward: made = attention(launch); break;
    case LaunchKind::kExpandRows:
    case LaunchKind::kReduceRows: made = permutation(launch); break;
    default: made = streaming(launch, call);
  }
  // Loaded now, not in the middle of a replay.
  made(stream_);
}

void ReplayKernels::launch(const KernelCall& call) const {
  launches_.at({call.op, call.lent_sms, call.layer})(stream_);
}

const LtGemm& ReplayKernels::gemm(const LtShape& shape, const LtOperands& operands) {
  std::unique_ptr<LtGemm>& made =
      products_[{shape.precision, shape.m, shape.n, shape.k, shape.sms}];
  if (made == nullptr) {
    made = std::make_unique<LtGemm>(*lt_, shape);
    made->tune(operands, stream_);
  }
  return *made;
}

ReplayKernels::Launch ReplayKernels::product(const ReplayLaunch& launch, const KernelCall& call) {
  require(!launch.fp8 || multiplies_fp8_,
          "this GPU has no products in FP8 with a scale for 128 elements: plan with "
          "precision=bf16");
  const bool weight = launch.weight_gradient;
  const LtPrecision precision = launch.fp8
                                    ? (weight ? LtPrecision::kFp8Weight : LtPrecision::kFp8)
                                    : (weight ? LtPrecision::kBf16Weight : LtPrecision::kBf16);
  const std::int64_t m = launch.m, n = launch.n, k = launch.k;
  const bool leaves = told_ == ProductSms::kLeft && call.lent_sms > 0;
  const LtShape shape{precision, m, n, k, weight, leaves ? sms_ - call.lent_sms : 0};
  // B of a forward or an input gradient is the layer's own weight; of a weight gradient both are
  // activations, and what it adds to is the layer's own.
  const std::int64_t b_count = n * k * launch.groups, d_count = m * n * launch.groups;
  const std::string& name = call.op->name;
  const std::uint8_t* codes =
      launch.fp8 && !weight ? operands_->weight_codes(call.layer, name, b_count) : nullptr;
  const Bf16* values =
      !launch.fp8 && !weight ? operands_->weights(call.layer, name, b_count) : nullptr;
  float* sum = weight ? operands_->sum(call.layer, name, d_count) : nullptr;
  std::vector<LtOperands> groups;
  for (std::int64_t group = 0; group < launch.groups; ++group) {
    LtOperands own;
    if (launch.fp8) {
      own.a = operands_->codes(m * k);
      own.a_scales = operands_->scales(k / 128 * scale_stride(m));
      own.b = weight ? operands_->codes(n * k) : codes + group * n * k;
      own.b_scales =
          operands_->scales(weight ? k / 128 * scale_stride(n) : n / 128 * scale_stride(k / 128));
    } else {
      own.a = operands_->bf16(m * k);
      own.b = weight ? operands_->bf16(n * k) : values + group * n * k;
    }
    own.d = weight ? static_cast<void*>(sum + group * m * n) : operands_->result<Bf16>(m * n);
    groups.push_back(own);
  }
  const LtGemm& kernel = gemm(shape, groups.front());
  return [&kernel, groups](Stream on) {
    for (const LtOperands& each : groups) kernel.run(each, on);
  };
}

ReplayKernels::Launch ReplayKernels::attention(const ReplayLaunch& launch) {
  const kernels::AttentionShape shape{launch.m / launch.n, launch.n, launch.groups, launch.qk_dim,
                                      launch.v_dim};
  const Heads heads{shape.sequences, shape.length, launch.groups, launch.qk_dim, launch.v_dim};
  const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(launch.qk_dim)));
  const std::int64_t wide = shape.tokens() * shape.heads * shape.qk_dim;
  const std::int64_t narrow = shape.tokens() * shape.heads * shape.v_dim;
  auto& forward = forwards_[heads];
  if (forward == nullptr) forward = std::make_shared<AttentionForward>(*cudnn_, shape, scale);
  const Bf16 *q = operands_->bf16(wide), *k = operands_->bf16(wide), *v = operands_->bf16(narrow);
  Bf16* out = operands_->result<Bf16>(narrow);
  float* lse = operands_->result<float>(shape.tokens() * shape.heads);
  if (launch.kind == LaunchKind::kAttentionForward) {
    return
        [forward = forward, q, k, v, out, lse](Stream on) { forward->run(q, k, v, out, lse, on); };
  }
  auto& backward = backwards_[heads];
  if (backward == nullptr) backward = std::make_shared<AttentionBackward>(*cudnn_, shape, scale);
  // Its exponentials are those of a forward of the same operands, kept where nothing overwrites it.
  auto kept_lse =
      std::make_shared<Device<float>>(static_cast<std::size_t>(shape.tokens() * shape.heads));
  auto kept_out = std::make_shared<Device<Bf16>>(static_cast<std::size_t>(narrow));
  forward->run(q, k, v, kept_out->get(), kept_lse->get(), stream_);
  const Bf16* dout = operands_->bf16(narrow);
  Bf16 *dq = operands_->result<Bf16>(wide), *dk = operands_->result<Bf16>(wide),
       *dv = operands_->result<Bf16>(narrow);
  return [backward = backward, q, k, v, kept_out, dout, kept_lse, dq, dk, dv](Stream on) {
    backward->run(q, k, v, kept_out->get(), dout, kept_lse->get(), dq, dk, dv, on);
  };
}

}  // namespace orrery::cuda
