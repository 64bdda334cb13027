#pragma once
// NCCL and the CUDA runtime, loaded when a run asks for them: orrery links neither, so the same
// program starts where they are not installed.
//
// The tables hold the entry points that orrery calls, by their C signatures with the opaque handles
// as void*. Numbers are those of nccl.h and cuda_runtime_api.h, which do not change within a major
// version; tests/realrun/nccl_abi_test.cpp compares them with the headers where they are installed.
//
//   const NcclLibrary library = open_nccl("");          // libnccl.so.2 and libcudart
//   library.cuda.check(library.cuda.set_device(0), "cudaSetDevice");
//
// A library that exports both sets of entry points (tests/nccl_shim, which works on host memory) is
// used for both.
#include <cstddef>
#include <memory>
#include <string>

namespace orrery {

// ncclUniqueId: names a communicator before it exists; sent to its members as it is.
struct NcclId {
  char bytes[128] = {};
};

// The first fields of ncclConfig_t, as of NCCL 2.14; NCCL fills in the later ones by `version`.
struct NcclConfig {
  std::size_t size = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;
  int blocking = 0;  // calls return at once; ncclCommGetAsyncError says when they are through
};

inline constexpr int kNcclSuccess = 0;     // ncclSuccess
inline constexpr int kNcclInProgress = 7;  // ncclInProgress
inline constexpr int kNcclSum = 0;         // ncclSum
inline constexpr int kNcclUint8 = 1, kNcclInt64 = 4, kNcclFloat32 = 7, kNcclFloat64 = 8;

struct NcclApi {
  int (*get_version)(int* version) = nullptr;
  const char* (*get_error_string)(int code) = nullptr;
  const char* (*get_last_error)(void* communicator) = nullptr;
  int (*get_unique_id)(NcclId* id) = nullptr;
  int (*comm_init_rank_config)(void** communicator, int ranks, NcclId id, int rank,
                               NcclConfig* config) = nullptr;
  int (*comm_get_async_error)(void* communicator, int* code) = nullptr;
  int (*comm_finalize)(void* communicator) = nullptr;
  int (*comm_destroy)(void* communicator) = nullptr;
  int (*comm_abort)(void* communicator) = nullptr;
  int (*group_start)() = nullptr;
  int (*group_end)() = nullptr;
  // Counts are of elements; those of the last two are of one rank's share.
  int (*send)(const void* data, std::size_t count, int type, int peer, void* communicator,
              void* stream) = nullptr;
  int (*recv)(void* room, std::size_t count, int type, int peer, void* communicator,
              void* stream) = nullptr;
  int (*all_reduce)(const void* in, void* out, std::size_t count, int type, int reduction,
                    void* communicator, void* stream) = nullptr;
  int (*reduce_scatter)(const void* in, void* out, std::size_t count, int type, int reduction,
                        void* communicator, void* stream) = nullptr;
  int (*all_gather)(const void* in, void* out, std::size_t count, int type, void* communicator,
                    void* stream) = nullptr;
};

inline constexpr int kCudaSuccess = 0;                 // cudaSuccess
inline constexpr int kCudaNotReady = 600;              // cudaErrorNotReady
inline constexpr int kCudaHostToDevice = 1;            // cudaMemcpyHostToDevice
inline constexpr int kCudaDeviceToHost = 2;            // cudaMemcpyDeviceToHost
inline constexpr unsigned kCudaStreamNonBlocking = 1;  // cudaStreamNonBlocking
inline constexpr unsigned kCudaEventNoTiming = 2;      // cudaEventDisableTiming

struct CudaApi {
  const char* (*get_error_string)(int code) = nullptr;
  int (*get_device_count)(int* count) = nullptr;
  int (*set_device)(int device) = nullptr;
  int (*malloc)(void** memory, std::size_t bytes) = nullptr;
  int (*free)(void* memory) = nullptr;
  int (*memcpy_async)(void* to, const void* from, std::size_t bytes, int kind,
                      void* stream) = nullptr;
  int (*stream_create)(void** stream, unsigned flags) = nullptr;
  int (*stream_synchronize)(void* stream) = nullptr;
  int (*stream_destroy)(void* stream) = nullptr;
  int (*event_create)(void** event, unsigned flags) = nullptr;
  int (*event_record)(void* event, void* stream) = nullptr;
  int (*event_query)(void* event) = nullptr;
  int (*event_destroy)(void* event) = nullptr;

  // Throws EnvironmentError with the call, the code and its text unless `code` is cudaSuccess.
  void check(int code, const char* call) const;
};

struct NcclLibrary {
  NcclApi nccl;
  CudaApi cuda;
  int version = 0;                // 22809 is 2.28.9
  int devices = 0;                // GPUs that this process sees; at least 1
  std::shared_ptr<void> handles;  // the loaded libraries; shared by the copies of the tables
};

// `path`: of the NCCL library; empty: libnccl.so.2, as the dynamic linker finds it. Throws
// EnvironmentError where there is no GPU, a library or an entry point is missing, or NCCL is older
// than 2.14, the first whose calls need not block.
NcclLibrary open_nccl(const std::string& path);

// "2.28.9" of 22809.
std::string nccl_version_text(int version);

}  // namespace orrery
