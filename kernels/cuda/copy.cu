#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/device.cuh"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 1024, kInFlight = 8;
// So much shared memory that no second block fits beside one.
constexpr int kWholeSm = 200 << 10;

__global__ void __launch_bounds__(kThreads)
    whole_kernel(const uint4* from, uint4* to, std::size_t vectors) {
  const std::size_t at = std::size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at < vectors) __stcs(to + at, __ldcs(from + at));
}

__global__ void __launch_bounds__(kThreads)
    few_kernel(const uint4* from, uint4* to, std::size_t vectors) {
  constexpr std::size_t kPiece = std::size_t{kThreads} * kInFlight;
  for (std::size_t first = blockIdx.x * kPiece; first < vectors; first += gridDim.x * kPiece) {
    uint4 values[kInFlight];
#pragma unroll
    for (int each = 0; each < kInFlight; ++each) {
      const std::size_t at = first + std::size_t{kThreads} * each + threadIdx.x;
      if (at < vectors) values[each] = __ldcs(from + at);
    }
#pragma unroll
    for (int each = 0; each < kInFlight; ++each) {
      const std::size_t at = first + std::size_t{kThreads} * each + threadIdx.x;
      if (at < vectors) __stcs(to + at, values[each]);
    }
  }
}

}  // namespace

void copy(const void* from, void* to, std::size_t bytes, int blocks, cudaStream_t stream) {
  require(bytes % sizeof(uint4) == 0, "copy: bytes must be a multiple of 16");
  const std::size_t vectors = bytes / sizeof(uint4);
  if (vectors == 0) return;
  const auto* source = static_cast<const uint4*>(from);
  auto* target = static_cast<uint4*>(to);
  if (blocks == 0) {
    whole_kernel<<<static_cast<unsigned>((vectors + kThreads - 1) / kThreads), kThreads, 0,
                   stream>>>(source, target, vectors);
  } else {
    check(cudaFuncSetAttribute(few_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kWholeSm),
          "copy: shared memory");
    few_kernel<<<blocks, kThreads, kWholeSm, stream>>>(source, target, vectors);
  }
  check_launch("copy");
}

}  // namespace orrery::cuda
