// The kernels of a replay that stream memory.
#include "kernels/cuda/adamw.hpp"
#include "kernels/cuda/attention.hpp"
#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/cross_entropy.hpp"
#include "kernels/cuda/permute.hpp"
#include "kernels/cuda/replay_kernels.hpp"
#include "kernels/cuda/replay_operands.cuh"
#include "kernels/cuda/rms_norm.hpp"
#include "kernels/cuda/rope.hpp"
#include "kernels/cuda/router.hpp"
#include "kernels/cuda/swiglu.hpp"

namespace orrery::cuda {
namespace {

constexpr float kEpsilon = 1e-6f;
// Of AdamW and of a copy at once; more follow on the same ones, which by then have left L2.
constexpr std::int64_t kMostParameters = std::int64_t{1} << 26;
constexpr std::int64_t kMostCopied = std::int64_t{1} << 30;

std::size_t size(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

// What a kernel changes in place, or adds to: memory of its own.
std::shared_ptr<Device<Bf16>> own_copy(const Bf16* from, std::int64_t count) {
  auto made = std::make_shared<Device<Bf16>>(size(count));
  check(cudaMemcpy(made->get(), from, size(count) * sizeof(Bf16), cudaMemcpyDeviceToDevice),
        "operand of the replay");
  check(cudaStreamSynchronize(nullptr), "operand of the replay");
  return made;
}

template <class T>
std::shared_ptr<Device<T>> zeros(std::int64_t count) {
  auto made = std::make_shared<Device<T>>(size(count));
  made->fill(0);
  return made;
}

std::vector<std::int32_t> numbers(std::int64_t count) {
  std::vector<std::int32_t> made(size(count));
  for (std::size_t at = 0; at < made.size(); ++at) made[at] = static_cast<std::int32_t>(at);
  return made;
}

}  // namespace

// Rows of a token lie far apart, as those of different experts do.
ReplayKernels::Launch ReplayKernels::permutation(const ReplayLaunch& launch) {
  const std::int64_t rows = launch.m, columns = launch.n, tokens = launch.k;
  const std::int64_t slots = (rows + tokens - 1) / tokens;
  std::vector<std::int32_t> row_of(size(tokens * slots), -1);
  for (std::int64_t row = 0; row < rows; ++row)
    row_of[size(row % tokens * slots + row / tokens)] = static_cast<std::int32_t>(row);
  auto map = std::make_shared<Device<std::int32_t>>(row_of);
  if (launch.kind == LaunchKind::kExpandRows) {
    const Bf16* x = operands_->bf16(tokens * columns);
    Bf16* out = operands_->result<Bf16>(rows * columns);
    return [=](Stream on) { expand_rows(tokens, slots, columns, map->get(), x, out, on); };
  }
  const Bf16* y = operands_->bf16(rows * columns);
  Bf16* out = operands_->result<Bf16>(tokens * columns);
  return [=](Stream on) { reduce_rows(tokens, slots, columns, map->get(), y, out, on); };
}

ReplayKernels::Launch ReplayKernels::streaming(const ReplayLaunch& launch, const KernelCall& call) {
  ReplayOperands& operands = *operands_;
  const std::int64_t m = launch.m, n = launch.n;
  switch (launch.kind) {
    case LaunchKind::kNorm: {
      const Bf16* x = operands.bf16(m * n);
      const float* weight = operands.floats(n);
      Bf16* y = operands.result<Bf16>(m * n);
      float* rms = operands.result<float>(m);
      return [=](Stream on) { rms_norm_forward(m, n, x, weight, kEpsilon, y, rms, on); };
    }
    case LaunchKind::kNormBackward: {
      const Bf16 *x = operands.bf16(m * n), *dy = operands.bf16(m * n);
      const float *weight = operands.floats(n), *rms = operands.floats(m);
      Bf16* dx = operands.result<Bf16>(m * n);
      float* sum = operands.sum(call.layer, call.op->name, n);
      return [=](Stream on) {
        rms_norm_backward_input(m, n, x, weight, rms, dy, dx, on);
        rms_norm_backward_weight(m, n, x, rms, dy, sum, on);
      };
    }
    case LaunchKind::kQuantiseRows: {
      const Bf16* x = operands.bf16(m * n);
      auto* codes = operands.result<std::uint8_t>(m * n);
      auto* scales = operands.result<float>(n / 128 * scale_stride(m));
      return [=](Stream on) { quantise_rows(m, n, x, codes, scales, on); };
    }
    case LaunchKind::kQuantiseColumns: {
      const Bf16* x = operands.bf16(m * n);
      auto* codes = operands.result<std::uint8_t>(m * n);
      auto* scales = operands.result<float>(m / 128 * scale_stride(n));
      return [=](Stream on) { quantise_columns(m, n, x, codes, scales, on); };
    }
    case LaunchKind::kSwiglu: {
      const Bf16* x = operands.bf16(2 * m * n);
      const float* weight = operands.floats(m);
      Bf16* out = operands.result<Bf16>(m * n);
      return [=](Stream on) { swiglu_forward(m, n, x, weight, out, on); };
    }
    case LaunchKind::kSwigluToFp8: {
      const Bf16* x = operands.bf16(2 * m * n);
      const float* weight = operands.floats(m);
      auto* codes = operands.result<std::uint8_t>(m * n);
      auto* scales = operands.result<float>(n / 128 * scale_stride(m));
      return [=](Stream on) { swiglu_forward_fp8(m, n, x, weight, codes, scales, on); };
    }
    case LaunchKind::kSwigluBackward: {
      const Bf16 *x = operands.bf16(2 * m * n), *dout = operands.bf16(m * n);
      const float* weight = operands.floats(m);
      Bf16* dx = operands.result<Bf16>(2 * m * n);
      return [=](Stream on) { swiglu_backward_input(m, n, x, weight, dout, dx, on); };
    }
    case LaunchKind::kRope: {
      constexpr std::int64_t kHead = 192, kBefore = 128;  // of DeepSeek-V3; one head is alone
      const std::int64_t heads = launch.groups;
      const std::int64_t stride = heads > 1 ? kHead : n, offset = heads > 1 ? kBefore : 0;
      const std::int64_t count = m * heads * stride;
      auto x = own_copy(operands.bf16(count), count);
      auto positions = std::make_shared<Device<std::int32_t>>(numbers(m));
      auto table = std::make_shared<Device<float>>(rope_table(m, n, 10000));
      return [=](Stream on) {
        rope(m, heads, stride, offset, n, positions->get(), table->get(), false, x->get(), on);
      };
    }
    case LaunchKind::kRouter: {
      constexpr int kChosen = 8, kGroups = 4;
      const float *logits = operands.floats(m * kRouterExperts),
                  *bias = operands.floats(kRouterExperts);
      float *scores = operands.result<float>(m * kRouterExperts),
            *weights = operands.result<float>(m * kChosen);
      auto* choice = operands.result<std::int32_t>(m * kChosen);
      auto counts = zeros<unsigned long long>(kRouterExperts);
      return [=](Stream on) {
        router(m, kGroups, kChosen, 2.5f, logits, bias, scores, choice, weights, counts->get(), on);
      };
    }
    case LaunchKind::kCrossEntropy: {
      auto logits = own_copy(operands.bf16(m * n), m * n);
      auto targets = std::make_shared<Device<std::int32_t>>(numbers(m));
      float* loss = operands.result<float>(m);
      return [=](Stream on) { cross_entropy(m, n, targets->get(), 1.0f, logits->get(), loss, on); };
    }
    case LaunchKind::kAdamw: {
      const std::int64_t part = std::min(m, kMostParameters);
      const float* gradient = operands.floats(part);
      auto parameter = zeros<float>(part);
      auto first = zeros<Bf16>(part), second = zeros<Bf16>(part), copied = zeros<Bf16>(part);
      kernels::AdamwStep step;
      step.learning_rate = 1e-4;
      return [=](Stream on) {
        for (std::int64_t done = 0; done < m; done += part)
          adamw(std::min(part, m - done), step, gradient, parameter->get(), first->get(),
                second->get(), copied->get(), on);
      };
    }
    case LaunchKind::kCopy: {
      const std::int64_t bytes = launch.bytes, part = std::min(bytes, kMostCopied);
      const Bf16* from = operands.bf16(part / 2);
      char* to = operands.result<char>(part);
      const int times = launch.times;
      return [=](Stream on) {
        for (int time = 0; time < times; ++time) {
          for (std::int64_t done = 0; done < bytes; done += part)
            copy(from, to, size(std::min(part, bytes - done)), 0, on);
        }
      };
    }
    default: break;
  }
  return [](Stream) {};  // within the kernel of another op
}

}  // namespace orrery::cuda
