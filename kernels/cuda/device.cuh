#pragma once
// Device memory and errors for the CUDA kernels beside it. Nothing here needs a GPU to compile.
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/cuda/types.hpp"

namespace orrery::cuda {

// A call of CUDA, cuBLASLt or cuDNN that failed, or a shape that no kernel is there for.
class DeviceError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw DeviceError(std::string(what) + ": " + cudaGetErrorString(status));
}

// After a kernel launch: launches report errors through the runtime's last error.
inline void check_launch(const char* kernel) {
  check(cudaGetLastError(), kernel);
}

inline void require(bool condition, const char* what) {
  if (!condition) throw DeviceError(what);
}

// Whether it multiplies E4M3 with a scale for 128 elements: cuBLASLt does so on Hopper alone. Kernels
// that only convert to it run on all that they are compiled for.
inline bool multiplies_fp8() {
  constexpr int kHopper = 9;
  int major = 0;
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "compute capability");
  return major == kHopper;
}

// An array on the device.
template <class T>
class Device {
 public:
  explicit Device(std::size_t size) : size_(size) {
    check(cudaMalloc(reinterpret_cast<void**>(&data_), size * sizeof(T)), "cudaMalloc");
  }
  explicit Device(const std::vector<T>& values) : Device(values.size()) {
    check(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice),
          "copy to the device");
    // Out of pageable memory it may still be under way, and other streams do not wait for this one.
    check(cudaStreamSynchronize(nullptr), "copy to the device");
  }
  ~Device() { cudaFree(data_); }
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  Device(Device&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
  }

  T* get() const { return data_; }
  std::size_t size() const { return size_; }
  std::vector<T> host() const {
    std::vector<T> values(size_);
    check(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost),
          "copy from the device");
    return values;
  }
  // Every byte: 0xff makes NaN of floats and BF16, and -1 of integers.
  void fill(int byte) {
    check(cudaMemset(data_, byte, size_ * sizeof(T)), "cudaMemset");
    check(cudaStreamSynchronize(nullptr), "cudaMemset");
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace orrery::cuda
