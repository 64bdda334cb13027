// The loader of orrery's CUDA library, with a shim that has its entry points (tests/cuda_shim).
#include "realrun/cuda_library.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>

#include "core/error.hpp"
#include "kernels/cuda_plugin.hpp"
#include "realrun/gpu_presence.hpp"

namespace orrery {
namespace {

using Catch::Matchers::Contains;

class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) { setenv(name, value, 1); }
  ~Environment() { unsetenv(name_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("the CUDA library named is loaded, with its GPUs and its functions") {
  const CudaLibrary library(ORRERY_CUDA_SHIM, "cuda-virtual");
  CHECK(library.devices() == 1);
  CHECK(library.entry<CudaPluginVersion>(kCudaPluginVersionName)() == kCudaPluginVersion);
}

TEST_CASE("a CUDA library that cannot be used says why, whatever is wrong") {
  CHECK_THROWS_WITH(CudaLibrary("no/liborrery_cuda.so", "cuda-virtual"),
                    Contains("no/liborrery_cuda.so") && Contains("hint:"));
  {
    const Environment none("ORRERY_CUDA_SHIM_GPUS", "0");
    CHECK_THROWS_WITH(CudaLibrary(ORRERY_CUDA_SHIM, "cuda-virtual"),
                      Contains("there is no GPU for --mode cuda-virtual: the shim was told so"));
  }
  {
    const Environment other("ORRERY_CUDA_SHIM_VERSION", "12345");
    CHECK_THROWS_WITH(CudaLibrary(ORRERY_CUDA_SHIM, "cuda-virtual"),
                      Contains("version 12345") && Contains("one source"));
  }
  const CudaLibrary library(ORRERY_CUDA_SHIM, "cuda-virtual");
  CHECK_THROWS_WITH(library.entry<int()>("orrery_cuda_nothing"), Contains("orrery_cuda_nothing"));
}

TEST_CASE("without a library named, a machine without a GPU is told that it has none") {
  if (has_nvidia_gpu()) return;
  CHECK_THROWS_WITH(CudaLibrary("", "cuda-virtual"), Contains("there is no GPU"));
}

}  // namespace orrery
