#pragma once
// What kernels that run on a chosen number of SMs have in common: a block that keeps an SM to
// itself, and a pace in which a block moves bytes no faster than its share of a link. Private to
// the kernels beside it.
#include <algorithm>

#include "kernels/cuda/device.cuh"

namespace orrery::cuda {

// So much dynamic shared memory that no second block fits beside one: 200 KiB, or all but a little
// for the kernel's own where an SM has less.
template <class Kernel>
int whole_sm(Kernel kernel, const char* what) {
  constexpr int kEnough = 200 << 10, kOwn = 1 << 10;
  int most = 0;
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0), what);
  const int bytes = std::min(kEnough, most - kOwn);
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), what);
  return bytes;
}

__device__ inline std::uint64_t nanoseconds() {
  std::uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

// The caller holds on until so long after `started`.
__device__ inline void hold_until(std::uint64_t started, double after) {
  const auto due = started + static_cast<std::uint64_t>(after);
  while (nanoseconds() < due) __nanosleep(200);
}

// Of one of `blocks` that share a link of `rate` bytes a second; 0 where there is no rate to keep.
inline double nanoseconds_a_byte(double rate, int blocks) {
  return rate > 0 ? 1e9 * blocks / rate : 0;
}

}  // namespace orrery::cuda
