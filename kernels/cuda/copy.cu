#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/few_sms.cuh"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 1024, kInFlight = 8;

__global__ void __launch_bounds__(kThreads)
    whole_kernel(const uint4* from, uint4* to, std::size_t vectors) {
  const std::size_t at = std::size_t{blockIdx.x} * kThreads + threadIdx.x;
  if (at < vectors) __stcs(to + at, __ldcs(from + at));
}

__global__ void __launch_bounds__(kThreads)
    few_kernel(const uint4* from, uint4* to, std::size_t vectors) {
  constexpr std::size_t kOwn = std::size_t{kThreads} * kInFlight;
  for (std::size_t first = blockIdx.x * kOwn; first < vectors; first += gridDim.x * kOwn) {
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

// What a block moves at once, vectors; less where little is copied, so that it is spread over the
// time. Every block holds its SM until the end, whatever there is for it to copy.
constexpr std::size_t kMostPiece = (64 << 10) / sizeof(uint4), kPiecesABlock = 16;
__global__ void __launch_bounds__(kThreads)
    paced_kernel(const uint4* from, uint4* to, std::size_t vectors, std::size_t room,
                 double lasts) {
  __shared__ std::uint64_t started;
  if (threadIdx.x == 0) started = nanoseconds();
  __syncthreads();
  const std::size_t even = vectors / (gridDim.x * kPiecesABlock);
  const std::size_t piece = even == 0 ? 1 : min(even, kMostPiece);
  const std::size_t room_pieces = room / piece;
  const std::size_t pieces = (vectors + piece - 1) / piece;
  const std::size_t own = (pieces + gridDim.x - 1 - blockIdx.x) / gridDim.x;
  for (std::size_t done = 0; done < own; ++done) {
    const std::size_t number = blockIdx.x + done * gridDim.x;
    const std::size_t first = number % room_pieces * piece;
    const std::size_t last = first + min(piece, vectors - number * piece);
    for (std::size_t at = first + threadIdx.x; at < last; at += kThreads)
      __stcs(to + at, __ldcs(from + at));
    hold_until(started, lasts * static_cast<double>(done + 1) / static_cast<double>(own));
  }
  hold_until(started, lasts);
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
    few_kernel<<<blocks, kThreads, whole_sm(few_kernel, "copy: shared memory"), stream>>>(
        source, target, vectors);
  }
  check_launch("copy");
}

void paced_copy(const void* from, void* to, std::size_t bytes, int blocks, double rate,
                cudaStream_t stream, std::size_t room) {
  require(bytes % sizeof(uint4) == 0, "paced_copy: bytes must be a multiple of 16");
  require(blocks > 0 && rate > 0, "paced_copy: blocks and rate must be positive");
  require(room >= kMostPiece * sizeof(uint4), "paced_copy: there must be room for 64 KiB");
  if (bytes == 0) return;
  const int shared = whole_sm(paced_kernel, "paced_copy: shared memory");
  paced_kernel<<<blocks, kThreads, shared, stream>>>(
      static_cast<const uint4*>(from), static_cast<uint4*>(to), bytes / sizeof(uint4),
      room / sizeof(uint4), 1e9 * static_cast<double>(bytes) / rate);
  check_launch("paced_copy");
}

}  // namespace orrery::cuda
