// The functions of CUDA's runtime that the kernels and their tests call, over memory of the host.
#include <cuda_runtime.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "tests/cuda_emulation/emulation.hpp"
#include "tests/cuda_emulation/stream.hpp"

struct CUstream_st {
  std::uint64_t clock = 0;  // nanoseconds
};
struct CUevent_st {
  std::uint64_t at = 0;
  bool recorded = false;
};

namespace cuda_emulation {
namespace {

constexpr std::uint64_t kLaunch = 1000;  // of every launch and copy, nanoseconds

std::recursive_mutex runs;
cudaError_t last_error = cudaSuccess;
CUstream_st null_stream;
std::uint64_t begun = 0, block_clock = 0, latest = 0;

CUstream_st& of(cudaStream_t stream) {
  return stream == nullptr || stream == cudaStreamLegacy ? null_stream : *stream;
}

// An array ends, but for alignment, where the next page cannot be touched.
class Arrays {
 public:
  void* make(std::size_t bytes) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t room = (bytes + page - 1) / page * page + page;
    void* whole = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (whole == MAP_FAILED) return nullptr;
    char* guard = static_cast<char*>(whole) + room - page;
    mprotect(guard, page, PROT_NONE);
    const std::size_t slack = (kAlignment - bytes % kAlignment) % kAlignment;
    char* array = guard - bytes - slack;
    std::memset(whole, kGarbage, room - page);
    const std::lock_guard turn(runs);
    arrays_[array] = {whole, room, bytes, slack};
    return array;
  }
  void free(void* array) {
    if (array == nullptr) return;
    const std::lock_guard turn(runs);
    const auto found = arrays_.find(array);
    if (found == arrays_.end()) stop("cudaFree of what cudaMalloc has not made");
    const Array& own = found->second;
    const auto* end = static_cast<const unsigned char*>(array) + own.bytes;
    const auto is_written = [](unsigned char byte) { return byte != kGarbage; };
    if (std::any_of(end, end + own.slack, is_written)) stop("an array was written beyond its end");
    if (std::any_of(static_cast<const unsigned char*>(own.whole),
                    static_cast<const unsigned char*>(array), is_written))
      stop("an array was written before its beginning");
    munmap(own.whole, own.room);
    arrays_.erase(found);
  }

 private:
  static constexpr std::size_t kAlignment = 16;  // of the widest access
  static constexpr unsigned char kGarbage = 0xf7;

  struct Array {
    void* whole = nullptr;
    std::size_t room = 0, bytes = 0, slack = 0;
  };
  [[noreturn]] static void stop(const char* what) {
    std::fprintf(stderr, "emulated memory: %s\n", what);
    std::abort();
  }
  std::map<void*, Array> arrays_;
};

Arrays& arrays() {
  static auto* all = new Arrays;  // outlives what tests keep in static variables
  return *all;
}

cudaError_t moved(cudaStream_t stream) {
  of(stream).clock += kLaunch;
  return cudaSuccess;
}

}  // namespace

void set_last_error(cudaError_t error) {
  last_error = error;
}

StreamTurn::StreamTurn(cudaStream_t stream) : taken_(runs), clock_(of(stream).clock) {
  begun = latest = block_clock = clock_ + kLaunch;
}
StreamTurn::~StreamTurn() {
  clock_ = std::max(latest, block_clock);
}

void begin_block() {
  latest = std::max(latest, block_clock);
  block_clock = begun;
}

std::uint64_t nanoseconds() {
  return block_clock;
}
void sleep(std::uint64_t nanoseconds) {
  block_clock += nanoseconds;
}

}  // namespace cuda_emulation

using cuda_emulation::arrays;
using cuda_emulation::of;

cudaError_t cudaMalloc(void** array, std::size_t bytes) {
  *array = arrays().make(bytes);
  return *array == nullptr ? cudaErrorMemoryAllocation : cudaSuccess;
}
cudaError_t cudaFree(void* array) {
  arrays().free(array);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  std::memcpy(to, from, bytes);
  return cuda_emulation::moved(nullptr);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  std::memcpy(to, from, bytes);
  return cuda_emulation::moved(stream);
}
cudaError_t cudaMemset(void* array, int byte, std::size_t bytes) {
  std::memset(array, byte, bytes);
  return cuda_emulation::moved(nullptr);
}
cudaError_t cudaMemsetAsync(void* array, int byte, std::size_t bytes, cudaStream_t stream) {
  std::memset(array, byte, bytes);
  return cuda_emulation::moved(stream);
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = cuda_emulation::last_error;
  cuda_emulation::last_error = cudaSuccess;
  return error;
}
const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "an error of the emulation";
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::memset(properties, 0, sizeof *properties);
  std::snprintf(properties->name, sizeof properties->name, "emulated on the host");
  properties->major = 9;
  properties->multiProcessorCount = 132;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *value = 9; return cudaSuccess;
    case cudaDevAttrMultiProcessorCount: *value = 132; return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *value = 227 << 10; return cudaSuccess;
    default: return cudaErrorInvalidValue;
  }
}
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) {
  return cudaSuccess;
}
cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CUevent_st;
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  *event = {of(stream).clock, true};
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  if (!from->recorded || !to->recorded) return cudaErrorInvalidResourceHandle;
  *milliseconds =
      static_cast<float>(1e-6 * (static_cast<double>(to->at) - static_cast<double>(from->at)));
  return cudaSuccess;
}
// As CUDA has it, an event that nothing was recorded in is not waited for.
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  of(stream).clock = std::max(of(stream).clock, event->at);
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
