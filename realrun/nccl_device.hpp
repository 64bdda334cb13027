#pragma once
// The GPU of this process as NCCL needs it: memory on it, and copies from and to the host.
//
// Memory: what a run computes with is host memory today (the host's kernels), so each transfer
// copies to the device, lets NCCL move, and copies back. Copies wait; they have a stream of their
// own, so that they never wait for a transfer.
#include <cstddef>
#include <map>
#include <mutex>
#include <span>

#include "realrun/nccl_library.hpp"

namespace orrery {

class NcclDevice {
 public:
  // `number` of library.devices. Throws EnvironmentError where CUDA fails; so do all calls.
  NcclDevice(NcclLibrary library, int number);
  ~NcclDevice();
  NcclDevice(const NcclDevice&) = delete;
  NcclDevice& operator=(const NcclDevice&) = delete;

  const NcclApi& nccl() const { return library_.nccl; }
  const CudaApi& cuda() const { return library_.cuda; }
  // Makes it the device of the calling thread; what calls NCCL or CUDA calls it first.
  void select() const;

  void upload(void* to, std::span<const std::byte> from);
  void download(std::span<std::byte> to, const void* from);

  // Memory of the device, kept for the next block when it goes: cudaFree waits for all transfers
  // under way, and some of them may wait for this rank.
  class Block {
   public:
    Block(NcclDevice& device, std::size_t bytes);
    ~Block();
    Block(Block&& other) noexcept : device_(other.device_), capacity_(other.capacity_) {
      std::swap(memory_, other.memory_);
    }
    Block& operator=(Block&&) = delete;
    std::byte* get() const { return static_cast<std::byte*>(memory_); }

   private:
    NcclDevice& device_;
    std::size_t capacity_;
    void* memory_ = nullptr;
  };

 private:
  NcclLibrary library_;
  int number_;
  void* copies_ = nullptr;  // stream
  std::mutex mutex_;
  std::multimap<std::size_t, void*> free_;  // by capacity
};

}  // namespace orrery
