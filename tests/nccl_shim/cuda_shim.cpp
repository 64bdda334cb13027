// The part of the CUDA runtime that orrery uses, on host memory: "device" memory is what cudaMalloc
// gave, and a copy whose direction is not that of its pointers is an error, as on a GPU.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "tests/nccl_shim/stream.hpp"

namespace orrery_shim {
namespace {

constexpr int kSuccess = 0, kInvalidValue = 1, kMemoryAllocation = 2, kNoDevice = 100,
              kInvalidDevice = 101, kNotReady = 600;
constexpr int kHostToDevice = 1;

struct Event {
  Stream* stream = nullptr;  // null: not recorded yet
  std::uint64_t count = 0;
};

std::mutex memory_mutex;
std::map<std::uintptr_t, std::size_t> memory;  // first byte -> bytes

// ORRERY_NCCL_SHIM_GPUS: how many GPUs there seem to be, 8 unless set.
int device_count() {
  const char* text = std::getenv("ORRERY_NCCL_SHIM_GPUS");
  return text != nullptr ? std::atoi(text) : 8;
}

}  // namespace

bool is_device_memory(const void* first, std::size_t bytes) {
  if (bytes == 0) return true;
  const std::lock_guard lock(memory_mutex);
  const auto begin = reinterpret_cast<std::uintptr_t>(first);
  auto block = memory.upper_bound(begin);
  if (block == memory.begin()) return false;
  --block;
  return begin + bytes <= block->first + block->second;
}

}  // namespace orrery_shim

using orrery_shim::Event;
using orrery_shim::Stream;

extern "C" {

const char* cudaGetErrorString(int code) {
  switch (code) {
    case orrery_shim::kSuccess: return "no error";
    case orrery_shim::kInvalidValue: return "invalid argument";
    case orrery_shim::kMemoryAllocation: return "out of memory";
    case orrery_shim::kNoDevice: return "no CUDA-capable device is detected";
    case orrery_shim::kInvalidDevice: return "invalid device ordinal";
    case orrery_shim::kNotReady: return "device not ready";
    default: return "unknown error";
  }
}

int cudaGetDeviceCount(int* count) {
  *count = orrery_shim::device_count();
  return *count > 0 ? orrery_shim::kSuccess : orrery_shim::kNoDevice;
}

int cudaSetDevice(int device) {
  return device >= 0 && device < orrery_shim::device_count() ? orrery_shim::kSuccess
                                                             : orrery_shim::kInvalidDevice;
}

int cudaMalloc(void** room, std::size_t bytes) {
  *room = std::malloc(bytes > 0 ? bytes : 1);
  if (*room == nullptr) return orrery_shim::kMemoryAllocation;
  const std::lock_guard lock(orrery_shim::memory_mutex);
  orrery_shim::memory[reinterpret_cast<std::uintptr_t>(*room)] = bytes;
  return orrery_shim::kSuccess;
}

int cudaFree(void* room) {
  if (room == nullptr) return orrery_shim::kSuccess;
  {
    const std::lock_guard lock(orrery_shim::memory_mutex);
    if (orrery_shim::memory.erase(reinterpret_cast<std::uintptr_t>(room)) == 0)
      return orrery_shim::kInvalidValue;
  }
  std::free(room);
  return orrery_shim::kSuccess;
}

int cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, int kind, void* stream) {
  const bool to_device = orrery_shim::is_device_memory(to, bytes);
  const bool from_device = orrery_shim::is_device_memory(from, bytes);
  const bool upwards = kind == orrery_shim::kHostToDevice;
  if (bytes > 0 && (to_device != upwards || from_device == upwards))
    return orrery_shim::kInvalidValue;
  static_cast<Stream*>(stream)->push([=] {
    if (bytes > 0) std::memcpy(to, from, bytes);
  });
  return orrery_shim::kSuccess;
}

int cudaStreamCreateWithFlags(void** stream, unsigned) {
  *stream = new Stream;
  return orrery_shim::kSuccess;
}

int cudaStreamSynchronize(void* stream) {
  static_cast<Stream*>(stream)->synchronize();
  return orrery_shim::kSuccess;
}

int cudaStreamDestroy(void* stream) {
  delete static_cast<Stream*>(stream);
  return orrery_shim::kSuccess;
}

int cudaEventCreateWithFlags(void** event, unsigned) {
  *event = new Event;
  return orrery_shim::kSuccess;
}

int cudaEventRecord(void* event, void* stream) {
  auto* recorded = static_cast<Event*>(event);
  recorded->stream = static_cast<Stream*>(stream);
  recorded->count = recorded->stream->pushed();
  return orrery_shim::kSuccess;
}

int cudaEventQuery(void* event) {
  const auto* recorded = static_cast<Event*>(event);
  if (recorded->stream == nullptr || recorded->stream->through(recorded->count))
    return orrery_shim::kSuccess;
  return orrery_shim::kNotReady;
}

int cudaEventDestroy(void* event) {
  delete static_cast<Event*>(event);
  return orrery_shim::kSuccess;
}

}  // extern "C"
