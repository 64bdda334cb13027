#pragma once
// Launches of a thread an element, in blocks of one size.
#include <cstdint>

namespace orrery::cuda {

constexpr int kThreads = 256;  // of a block
constexpr int kWarps = kThreads / 32;

// Blocks for so many threads.
inline unsigned blocks_of(std::int64_t threads) {
  return static_cast<unsigned>((threads + kThreads - 1) / kThreads);
}

__device__ inline std::int64_t thread_number() {
  return std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
}

}  // namespace orrery::cuda
