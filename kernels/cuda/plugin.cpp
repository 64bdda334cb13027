// liborrery_cuda.so: which version of the interfaces it has, and whether there is a GPU. The
// factories are in plugin_*.cpp beside it.
#include <cuda_runtime.h>

#include <cstdio>

#include "kernels/cuda_plugin.hpp"

extern "C" int orrery_cuda_version() {
  return orrery::kCudaPluginVersion;
}

extern "C" int orrery_cuda_devices(char* why, std::size_t room) {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) {
    std::snprintf(why, room, "CUDA error %d in cudaGetDeviceCount: %s", static_cast<int>(status),
                  cudaGetErrorString(status));
    return 0;
  }
  if (count < 1) std::snprintf(why, room, "cudaGetDeviceCount counts 0");
  return count;
}
