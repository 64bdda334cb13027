#include "kernels/cuda/virtual_device.hpp"

#include "kernels/cuda/device.cuh"
#include "kernels/replay_launch.hpp"

namespace orrery::cuda {

CudaVirtualDevice::CudaVirtualDevice() {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "properties of the GPU");
  name_ = properties.name;
}

std::string CudaVirtualDevice::stand_in(const Op& op) {
  const ReplayLaunch launch = replay_launch(op);
  if (launch.kind != LaunchKind::kCopy) return "nothing: another op's kernel does it";
  kernels_.copy(launch.bytes, launch.times);
  return launch.stand_in;
}

OpTime CudaVirtualDevice::time(const Op& op, const ExchangeBeside& beside,
                               const std::function<void()>& run) {
  const std::lock_guard turn(kernels_.turn());
  KernelClock& clock = kernels_.clock();
  try {
    clock.begin(beside);
  } catch (...) {
    clock.end();
    failed_ = true;
    throw;
  }
  OpTime took;
  try {
    run();
    if (!clock.launched()) took.stand_in = stand_in(op);
  } catch (...) {
    clock.end();
    throw;
  }
  took.time = clock.end();
  return took;
}

}  // namespace orrery::cuda
