#include "realrun/cuda_library.hpp"

#include <dlfcn.h>

#include <array>
#include <filesystem>

#include "core/error.hpp"
#include "kernels/cuda_plugin.hpp"
#include "realrun/gpu_presence.hpp"

namespace orrery {
namespace {

std::string beside_executable() {
  std::error_code error;
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", error);
  return (own.parent_path() / "liborrery_cuda.so").string();
}

[[noreturn]] void no_gpu(const std::string& mode, const std::string& why) {
  throw EnvironmentError(
      fmt::format("there is no GPU for --mode {}: {}\n  hint: --simulated-device h800 goes "
                  "through it without one and measures nothing; --mode host trains on CPUs",
                  mode, why));
}

}  // namespace

CudaLibrary::CudaLibrary(const std::string& path, std::string mode) : mode_(std::move(mode)) {
  const std::string file = path.empty() ? beside_executable() : path;
  handle_ = {dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL), [](void* handle) {
               if (handle != nullptr) dlclose(handle);
             }};
  if (handle_ == nullptr) {
    const char* error = dlerror();
    const std::string why = error != nullptr ? error : "dlopen failed";
    // A library named by hand that cannot be loaded is its own error; else the GPU comes first:
    // where there is none, no library would help.
    if (path.empty() && !has_nvidia_gpu()) no_gpu(mode_, "NVIDIA's driver has none");
    throw EnvironmentError(fmt::format(
        "cannot load orrery's CUDA library: {}\n  hint: it is the target orrery_cuda, built where "
        "nvcc, cuBLASLt and cuDNN are installed; --cuda-library or ORRERY_CUDA_LIBRARY says where "
        "it is, LD_LIBRARY_PATH where the libraries are that it needs",
        why));
  }
  const int version = entry<CudaPluginVersion>(kCudaPluginVersionName)();
  if (version != kCudaPluginVersion) {
    throw EnvironmentError(
        fmt::format("{} has version {} of the interface, this program needs {}\n  hint: build both "
                    "from one source",
                    file, version, kCudaPluginVersion));
  }
  std::array<char, 256> why{};
  devices_ = entry<CudaPluginDevices>(kCudaPluginDevicesName)(why.data(), why.size());
  if (devices_ < 1) no_gpu(mode_, why.data());
}

void* CudaLibrary::find(const char* name) const {
  void* found = dlsym(handle_.get(), name);
  if (found == nullptr) {
    throw EnvironmentError(fmt::format(
        "the CUDA library has no {} for --mode {}\n  hint: build it and orrery from one source",
        name, mode_));
  }
  return found;
}

}  // namespace orrery
