// The numbers and layouts that realrun/nccl_library.hpp repeats are those of the headers; checked
// when this file is compiled, where NCCL and CUDA are installed.
#include <catch2/catch.hpp>
#include <cstddef>
#include <type_traits>

#include "realrun/nccl_library.hpp"

#if __has_include(<nccl.h>)
#include <nccl.h>

namespace orrery {
namespace {

static_assert(sizeof(NcclId) == sizeof(ncclUniqueId));
static_assert(offsetof(NcclConfig, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(NcclConfig, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(NcclConfig, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(kNcclSuccess == ncclSuccess && kNcclInProgress == ncclInProgress);
static_assert(kNcclSum == ncclSum);
static_assert(kNcclUint8 == ncclUint8 && kNcclInt64 == ncclInt64);
static_assert(kNcclFloat32 == ncclFloat32 && kNcclFloat64 == ncclFloat64);
static_assert(kCudaSuccess == cudaSuccess && kCudaNotReady == cudaErrorNotReady);
static_assert(kCudaHostToDevice == cudaMemcpyHostToDevice);
static_assert(kCudaDeviceToHost == cudaMemcpyDeviceToHost);
static_assert(kCudaStreamNonBlocking == cudaStreamNonBlocking);
static_assert(kCudaEventNoTiming == cudaEventDisableTiming);

// Handles are pointers and codes are ints, so two signatures fit if their sizes do, one by one.
template <class Ours, class Theirs>
struct Fits : std::false_type {};
template <class R, class... As, class S, class... Bs>
struct Fits<R (*)(As...), S(Bs...)> {
  static constexpr bool compute() {
    if constexpr (sizeof...(As) != sizeof...(Bs)) {
      return false;
    } else {
      return sizeof(R) == sizeof(S) && ((sizeof(As) == sizeof(Bs)) && ...);
    }
  }
  static constexpr bool value = compute();
};
#define ORRERY_FITS(entry, function) \
  static_assert(Fits<decltype(entry), std::remove_reference_t<decltype(function)>>::value)

ORRERY_FITS(NcclApi::get_version, ncclGetVersion);
ORRERY_FITS(NcclApi::get_error_string, ncclGetErrorString);
ORRERY_FITS(NcclApi::get_last_error, ncclGetLastError);
ORRERY_FITS(NcclApi::get_unique_id, ncclGetUniqueId);
ORRERY_FITS(NcclApi::comm_init_rank_config, ncclCommInitRankConfig);
ORRERY_FITS(NcclApi::comm_get_async_error, ncclCommGetAsyncError);
ORRERY_FITS(NcclApi::comm_finalize, ncclCommFinalize);
ORRERY_FITS(NcclApi::comm_destroy, ncclCommDestroy);
ORRERY_FITS(NcclApi::comm_abort, ncclCommAbort);
ORRERY_FITS(NcclApi::group_start, ncclGroupStart);
ORRERY_FITS(NcclApi::group_end, ncclGroupEnd);
ORRERY_FITS(NcclApi::send, ncclSend);
ORRERY_FITS(NcclApi::recv, ncclRecv);
ORRERY_FITS(NcclApi::all_reduce, ncclAllReduce);
ORRERY_FITS(NcclApi::reduce_scatter, ncclReduceScatter);
ORRERY_FITS(NcclApi::all_gather, ncclAllGather);

}  // namespace
}  // namespace orrery

#endif

namespace orrery {

TEST_CASE("a NCCL config has the size of its first version, 2.14") {
  // size_t, two unsigned, an int, padded to eight bytes.
  CHECK(sizeof(NcclConfig) == 24);
}

}  // namespace orrery
