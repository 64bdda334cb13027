// The names of the vocabulary's enumerations, as data files, reports and messages write them.
#include <fmt/format.h>

#include <array>

#include "core/cluster.hpp"
#include "core/layout.hpp"
#include "core/op.hpp"
#include "core/program.hpp"

namespace orrery {
namespace {

constexpr auto kKernelNames = std::to_array<std::string_view>({
    "gemm",
    "gemm-grouped",
    "wgrad",
    "wgrad-grouped",
    "attention-forward",
    "attention-backward",
    "attention-backward-pre",
    "attention-backward-post",
    "cast",
    "cast-back",
    "cast-e5m6",
    "cast-back-e5m6",
    "cast-transpose",
    "cast-transpose-gathered",
    "weight-transpose",
    "scale-transpose",
    "norm",
    "norm-backward",
    "norm-finalize",
    "rope",
    "swiglu",
    "swiglu-transpose",
    "swiglu-backward",
    "swiglu-recompute",
    "routing-weight-gradient",
    "expand",
    "reduce",
    "copy",
    "copy-broadcast",
    "elementwise",
    "head-reduce",
    "router-topk",
    "router-small",
    "router-backward",
    "expert-count",
    "expert-mapping",
    "small",
    "embedding",
    "cross-entropy",
    "optimizer",
    "host-copy",
    "host-update",
});
static_assert(kKernelNames.size() == static_cast<std::size_t>(KernelClass::kCount));

}  // namespace

std::string_view to_string(FabricKind kind) {
  switch (kind) {
    case FabricKind::kMultiPlaneFatTree: return "multi-plane-fat-tree";
    case FabricKind::kMultiRailFatTree: return "multi-rail-fat-tree";
    case FabricKind::kFatTree: return "fat-tree";
    case FabricKind::kSingleSwitch: return "single-switch";
    case FabricKind::kCustom: return "custom";
    case FabricKind::kHost: return "host";
  }
  return "?";
}

std::string_view to_string(Routing routing) {
  switch (routing) {
    case Routing::kAdaptive: return "adaptive";
    case Routing::kStatic: return "static";
    case Routing::kEcmp: return "ecmp";
  }
  return "?";
}

std::string_view to_string(Precision precision) {
  switch (precision) {
    case Precision::kFp8: return "fp8";
    case Precision::kBf16: return "bf16";
    case Precision::kFp8Tensor: return "fp8-tensor";
  }
  return "?";
}

std::string_view to_string(ExchangeKernels kernels) {
  return kernels == ExchangeKernels::kDeepEp ? "deepep" : "nccl";
}

std::string_view to_string(WeightGradients order) {
  return order == WeightGradients::kBeside ? "beside" : "inline";
}

std::string_view to_string(AttentionKernels kernels) {
  return kernels == AttentionKernels::kFused ? "fused" : "unfused";
}

std::string_view to_string(Recompute recompute) {
  switch (recompute) {
    case Recompute::kNone: return "none";
    case Recompute::kSelective: return "selective";
    case Recompute::kFull: return "full";
    case Recompute::kAttention: return "attention";
    case Recompute::kMlp: return "mlp";
    case Recompute::kExperts: return "experts";
  }
  return "?";
}

std::string_view to_string(Keep keep) {
  return keep == Keep::kGpu ? "gpu" : "cpu";
}

char letter(LayerKind kind) {
  switch (kind) {
    case LayerKind::kEmbedding: return 'E';
    case LayerKind::kDense: return 'd';
    case LayerKind::kMoe: return 't';
    case LayerKind::kMtp: return 'm';
    case LayerKind::kHead: return 'L';
  }
  return '?';
}

std::string describe(const Layout& layout) {
  std::string text = fmt::format("pp={}", layout.pp);
  const auto add = [&text](std::string_view key, int value) {
    if (value != 1) text += fmt::format(" {}={}", key, value);
  };
  add("tp", layout.tp);
  add("cp", layout.cp);
  text += fmt::format(" ep={}", layout.ep);
  add("etp", layout.etp);
  if (layout.dp > 0) text += fmt::format(" dp={}", layout.dp);
  add("vpp", layout.vpp);
  add("zero", layout.zero_stage);
  add("mbs", layout.micro_batch);
  return text;
}

std::string_view to_string(KernelClass kernel) {
  const auto index = static_cast<std::size_t>(kernel);
  return index < kKernelNames.size() ? kKernelNames[index] : "?";
}

std::optional<KernelClass> kernel_class(std::string_view name) {
  for (std::size_t index = 0; index < kKernelNames.size(); ++index) {
    if (kKernelNames[index] == name) return static_cast<KernelClass>(index);
  }
  return std::nullopt;
}

std::string_view to_string(DataType type) {
  switch (type) {
    case DataType::kNone: return "none";
    case DataType::kFp8: return "fp8";
    case DataType::kFp8Tensor: return "fp8-tensor";
    case DataType::kBf16: return "bf16";
    case DataType::kFp32: return "fp32";
    case DataType::kE5m6: return "e5m6";
  }
  return "?";
}

std::string_view to_string(Pass pass) {
  switch (pass) {
    case Pass::kF: return "F";
    case Pass::kI: return "I";
    case Pass::kW: return "W";
  }
  return "?";
}

double Op::amount() const {
  if (bytes.value() > 0) return bytes.value();
  switch (kernel) {
    case KernelClass::kSmall: return launches;
    case KernelClass::kGemm:
    case KernelClass::kGroupedGemm:
    case KernelClass::kWgrad:
    case KernelClass::kGroupedWgrad:
    case KernelClass::kAttentionForward:
    case KernelClass::kAttentionBackward: return flops.value();
    default: return m;
  }
}

std::string_view to_string(Stream stream) {
  switch (stream) {
    case Stream::kCompute: return "compute";
    case Stream::kComm: return "comm";
    case Stream::kSendNext: return "send-next";
    case Stream::kSendPrev: return "send-prev";
    case Stream::kRecvNext: return "recv-next";
    case Stream::kRecvPrev: return "recv-prev";
  }
  return "?";
}

std::string_view to_string(Component component) {
  switch (component) {
    case Component::kEmbedding: return "embedding";
    case Component::kAttention: return "attention";
    case Component::kDispatch: return "dispatch";
    case Component::kMlp: return "mlp";
    case Component::kCombine: return "combine";
    case Component::kMtpProjection: return "mtp-projection";
    case Component::kHead: return "head";
    case Component::kPipeline: return "pipeline";
    case Component::kGradientReduce: return "gradient-reduce";
    case Component::kOptimizer: return "optimizer";
    case Component::kParameterGather: return "parameter-gather";
    case Component::kTensorParallel: return "tensor-parallel";
    case Component::kContextParallel: return "context-parallel";
  }
  return "?";
}

std::string_view to_string(Pattern pattern) {
  switch (pattern) {
    case Pattern::kNone: return "none";
    case Pattern::kDispatch: return "dispatch";
    case Pattern::kDispatchCached: return "dispatch-cached";
    case Pattern::kCombine: return "combine";
    case Pattern::kCombineGradient: return "combine-gradient";
    case Pattern::kSend: return "send";
    case Pattern::kReduceScatter: return "reduce-scatter";
    case Pattern::kAllGather: return "all-gather";
    case Pattern::kAllReduce: return "all-reduce";
  }
  return "?";
}

std::string_view to_string(ParameterSet set) {
  switch (set) {
    case ParameterSet::kNone: return "none";
    case ParameterSet::kExpert: return "experts";
    case ParameterSet::kDense: return "the rest";
    case ParameterSet::kReplicated: return "norms, router and latent projections";
    case ParameterSet::kEmbedding: return "embedding";
    case ParameterSet::kHead: return "output head";
  }
  return "?";
}

std::string_view to_string(BufferKind kind) {
  switch (kind) {
    case BufferKind::kActivation: return "activations for the input gradient";
    case BufferKind::kActivationForWeights: return "activations for the weight gradient";
    case BufferKind::kWeightGradientInput: return "operands of the weight gradient";
    case BufferKind::kCommunication: return "received tensor";
  }
  return "?";
}

}  // namespace orrery
