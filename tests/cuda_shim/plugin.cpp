// The entry points of liborrery_cuda.so on a machine without a GPU, for tests: version and count of
// GPUs are what the environment says (ORRERY_CUDA_SHIM_VERSION, ORRERY_CUDA_SHIM_GPUS), or as they
// should be.
#include <cstdio>
#include <cstdlib>

#include "kernels/cuda_plugin.hpp"

namespace {

int from_environment(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? std::atoi(value) : otherwise;
}

}  // namespace

extern "C" int orrery_cuda_version() {
  return from_environment("ORRERY_CUDA_SHIM_VERSION", orrery::kCudaPluginVersion);
}

extern "C" int orrery_cuda_devices(char* why, std::size_t room) {
  const int count = from_environment("ORRERY_CUDA_SHIM_GPUS", 1);
  if (count < 1) std::snprintf(why, room, "the shim was told so");
  return count;
}
