#pragma once
// orrery's own CUDA code, loaded when a run asks for it: liborrery_cuda.so, built where nvcc,
// cuBLASLt and cuDNN are installed (cmake/cuda.cmake), lies beside the executable.
//
//   const CudaLibrary library("", "cuda-virtual");
//   auto* make = library.entry<CudaKernelsFactory>(kCudaKernelsFactoryName);
#include <memory>
#include <string>

namespace orrery {

class CudaLibrary {
 public:
  // `path`: of the library; empty: liborrery_cuda.so beside the executable. `mode`: of realrun, for
  // messages. Throws EnvironmentError where there is no GPU, or the library is missing, cannot be
  // loaded or is of another build.
  CudaLibrary(const std::string& path, std::string mode);

  // The library's function of that name (kernels/cuda_plugin.hpp); it stays loaded as long as this
  // object or a copy of it lives. Throws EnvironmentError where there is none.
  template <class Function>
  Function* entry(const char* name) const {
    return reinterpret_cast<Function*>(find(name));
  }
  int devices() const { return devices_; }  // GPUs; at least 1

 private:
  void* find(const char* name) const;

  std::string mode_;
  std::shared_ptr<void> handle_;
  int devices_ = 0;
};

}  // namespace orrery
