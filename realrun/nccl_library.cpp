#include "realrun/nccl_library.hpp"

#include <dlfcn.h>

#include <vector>

#include "core/error.hpp"

namespace orrery {
namespace {

constexpr int kOldestNccl = 21400;
// The runtime of any CUDA that a NCCL 2 of today is built for; the entry points used are in all.
constexpr const char* kCudaRuntimes[] = {"libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0",
                                         "libcudart.so"};

// Libraries stay loaded as long as anyone holds them.
class Handles {
 public:
  Handles() = default;
  Handles(const Handles&) = delete;
  Handles& operator=(const Handles&) = delete;
  ~Handles() {
    for (void* handle : handles_) dlclose(handle);
  }
  // Null where it cannot be loaded; error() says why.
  void* open(const char* name) {
    void* handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) {
      const char* why = dlerror();
      error_ = why != nullptr ? why : "dlopen failed";
    } else {
      handles_.push_back(handle);
    }
    return handle;
  }
  const std::string& error() const { return error_; }

 private:
  std::vector<void*> handles_;
  std::string error_;
};

template <class Function>
void find(void* library, const char* name, Function*& entry) {
  entry = reinterpret_cast<Function*>(dlsym(library, name));
  if (entry == nullptr) {
    throw EnvironmentError(fmt::format(
        "the library for --mode nccl has no {}\n  hint: NCCL 2.14 or newer is needed", name));
  }
}

CudaApi find_cuda(void* library) {
  CudaApi cuda;
  find(library, "cudaGetErrorString", cuda.get_error_string);
  find(library, "cudaGetDeviceCount", cuda.get_device_count);
  find(library, "cudaSetDevice", cuda.set_device);
  find(library, "cudaMalloc", cuda.malloc);
  find(library, "cudaFree", cuda.free);
  find(library, "cudaMemcpyAsync", cuda.memcpy_async);
  find(library, "cudaStreamCreateWithFlags", cuda.stream_create);
  find(library, "cudaStreamSynchronize", cuda.stream_synchronize);
  find(library, "cudaStreamDestroy", cuda.stream_destroy);
  find(library, "cudaEventCreateWithFlags", cuda.event_create);
  find(library, "cudaEventRecord", cuda.event_record);
  find(library, "cudaEventQuery", cuda.event_query);
  find(library, "cudaEventDestroy", cuda.event_destroy);
  return cuda;
}

NcclApi find_nccl(void* library) {
  NcclApi nccl;
  find(library, "ncclGetVersion", nccl.get_version);
  find(library, "ncclGetErrorString", nccl.get_error_string);
  find(library, "ncclGetLastError", nccl.get_last_error);
  find(library, "ncclGetUniqueId", nccl.get_unique_id);
  find(library, "ncclCommInitRankConfig", nccl.comm_init_rank_config);
  find(library, "ncclCommGetAsyncError", nccl.comm_get_async_error);
  find(library, "ncclCommFinalize", nccl.comm_finalize);
  find(library, "ncclCommDestroy", nccl.comm_destroy);
  find(library, "ncclCommAbort", nccl.comm_abort);
  find(library, "ncclGroupStart", nccl.group_start);
  find(library, "ncclGroupEnd", nccl.group_end);
  find(library, "ncclSend", nccl.send);
  find(library, "ncclRecv", nccl.recv);
  find(library, "ncclAllReduce", nccl.all_reduce);
  find(library, "ncclReduceScatter", nccl.reduce_scatter);
  find(library, "ncclAllGather", nccl.all_gather);
  return nccl;
}

[[noreturn]] void no_gpu(const std::string& why) {
  throw EnvironmentError(fmt::format(
      "there is no GPU for --mode nccl: {}\n  hint: --mode host carries the plan out on CPUs",
      why));
}

// The GPUs first: where there is none, that is what the user should read, not which library is
// missing.
int count_devices(const CudaApi& cuda) {
  int count = 0;
  const int code = cuda.get_device_count(&count);
  if (code != kCudaSuccess)
    no_gpu(
        fmt::format("CUDA error {} in cudaGetDeviceCount: {}", code, cuda.get_error_string(code)));
  if (count < 1) no_gpu("cudaGetDeviceCount counts 0");
  return count;
}

}  // namespace

void CudaApi::check(int code, const char* call) const {
  if (code == kCudaSuccess) return;
  throw EnvironmentError(
      fmt::format("CUDA error {} in {}: {}", code, call, get_error_string(code)));
}

std::string nccl_version_text(int version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

NcclLibrary open_nccl(const std::string& path) {
  const auto handles = std::make_shared<Handles>();
  const char* name = path.empty() ? "libnccl.so.2" : path.c_str();
  void* nccl = handles->open(name);
  const std::string nccl_error = handles->error();
  // A library named by hand that cannot be loaded is its own error, GPU or not.
  if (nccl == nullptr && !path.empty())
    throw EnvironmentError(fmt::format("cannot load the NCCL library: {}", nccl_error));

  void* runtime = nullptr;
  if (nccl != nullptr && dlsym(nccl, "cudaGetDeviceCount") != nullptr) runtime = nccl;
  for (const char* candidate : kCudaRuntimes) {
    if (runtime == nullptr) runtime = handles->open(candidate);
  }
  if (runtime == nullptr) no_gpu("the CUDA runtime is not installed: " + handles->error());

  NcclLibrary library;
  library.handles = handles;
  library.cuda = find_cuda(runtime);
  library.devices = count_devices(library.cuda);
  if (nccl == nullptr) {
    throw EnvironmentError(
        fmt::format("cannot load NCCL: {}\n  hint: install libnccl2, or name the library with "
                    "--nccl-library",
                    nccl_error));
  }
  library.nccl = find_nccl(nccl);
  const int code = library.nccl.get_version(&library.version);
  if (code != kNcclSuccess)
    throw EnvironmentError(fmt::format("NCCL error {} in ncclGetVersion", code));
  if (library.version < kOldestNccl) {
    throw EnvironmentError(
        fmt::format("NCCL {} is too old for --mode nccl\n  hint: 2.14 or newer "
                    "is needed",
                    nccl_version_text(library.version)));
  }
  return library;
}

}  // namespace orrery
