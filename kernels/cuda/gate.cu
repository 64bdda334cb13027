#include "kernels/cuda/few_sms.cuh"
#include "kernels/cuda/gate.hpp"

namespace orrery::cuda {
namespace {

__global__ void stamp_kernel(std::uint64_t* at) {
  *at = nanoseconds();
}

// Of no stamp: from now.
__global__ void wait_kernel(const std::uint64_t* from, std::uint64_t wait) {
  const std::uint64_t opens = (from != nullptr ? *from : nanoseconds()) + wait;
  while (nanoseconds() < opens) __nanosleep(500);
}

}  // namespace

void stamp(std::uint64_t* at, cudaStream_t stream) {
  stamp_kernel<<<1, 1, 0, stream>>>(at);
  check_launch("stamp");
}

void wait_after(const std::uint64_t* from, std::uint64_t wait, cudaStream_t stream) {
  wait_kernel<<<1, 1, 0, stream>>>(from, wait);
  check_launch("gate");
}

void hold(std::uint64_t wait, cudaStream_t stream) {
  wait_kernel<<<1, 1, 0, stream>>>(nullptr, wait);
  check_launch("hold");
}

}  // namespace orrery::cuda
