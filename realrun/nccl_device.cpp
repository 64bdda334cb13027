#include "realrun/nccl_device.hpp"

#include <bit>
#include <utility>

namespace orrery {

NcclDevice::NcclDevice(NcclLibrary library, int number)
    : library_(std::move(library)), number_(number) {
  select();
  cuda().check(cuda().stream_create(&copies_, kCudaStreamNonBlocking), "cudaStreamCreateWithFlags");
}

NcclDevice::~NcclDevice() {
  cuda().set_device(number_);
  cuda().stream_destroy(copies_);
  for (const auto& [capacity, memory] : free_) cuda().free(memory);
}

void NcclDevice::select() const {
  cuda().check(cuda().set_device(number_), "cudaSetDevice");
}

void NcclDevice::upload(void* to, std::span<const std::byte> from) {
  if (from.empty()) return;
  cuda().check(cuda().memcpy_async(to, from.data(), from.size(), kCudaHostToDevice, copies_),
               "cudaMemcpyAsync to the device");
  cuda().check(cuda().stream_synchronize(copies_), "cudaStreamSynchronize");
}

void NcclDevice::download(std::span<std::byte> to, const void* from) {
  if (to.empty()) return;
  cuda().check(cuda().memcpy_async(to.data(), from, to.size(), kCudaDeviceToHost, copies_),
               "cudaMemcpyAsync from the device");
  cuda().check(cuda().stream_synchronize(copies_), "cudaStreamSynchronize");
}

// Powers of two from 256 bytes on, so that a run needs few different ones.
NcclDevice::Block::Block(NcclDevice& device, std::size_t bytes)
    : device_(device), capacity_(std::bit_ceil(std::max<std::size_t>(bytes, 256))) {
  {
    const std::lock_guard lock(device.mutex_);
    if (const auto found = device.free_.find(capacity_); found != device.free_.end()) {
      memory_ = found->second;
      device.free_.erase(found);
      return;
    }
  }
  device.cuda().check(device.cuda().malloc(&memory_, capacity_), "cudaMalloc");
}

NcclDevice::Block::~Block() {
  if (memory_ == nullptr) return;
  const std::lock_guard lock(device_.mutex_);
  device_.free_.emplace(capacity_, memory_);
}

}  // namespace orrery
