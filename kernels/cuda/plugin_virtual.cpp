// liborrery_cuda.so: the device of virtual runs.
#include "kernels/cuda/virtual_device.hpp"
#include "kernels/cuda_plugin.hpp"

extern "C" orrery::VirtualDevice* orrery_cuda_virtual_device() {
  return new orrery::cuda::CudaVirtualDevice();
}
