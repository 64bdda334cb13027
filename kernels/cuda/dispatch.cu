#include "kernels/cuda/dispatch.hpp"
#include "kernels/cuda/exchange_token.cuh"

namespace orrery::cuda {
namespace {

// A warp a token, all of 7168 codes (and 56 scales) in flight: few blocks have to keep the memory
// busy.
constexpr int kThreads = 512, kWarps = kThreads / 32, kVectorsInFlight = 14, kWordsInFlight = 2;

struct Arrays {
  SentRows array[kMostSentArrays];
  int count = 0;
  std::int64_t bytes = 0;  // of a row of all
};

template <class Vector, int kInFlight>
__device__ void send_row(const SentRows& array, std::int64_t token, const ExchangeToken& where) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int vectors = static_cast<int>(array.bytes / static_cast<std::int64_t>(sizeof(Vector)));
  const std::int64_t step = array.stride == 0 ? 1 : array.stride;
  const Vector* from =
      static_cast<const Vector*>(array.from) + token * (array.stride == 0 ? vectors : 1);
  Vector* own = nullptr;
  if (where.destination >= 0)
    own = static_cast<Vector*>(array.to[where.destination]) + where.row * vectors;
  for (int first = 0; first < vectors; first += 32 * kInFlight) {
    Vector values[kInFlight];
#pragma unroll
    for (int each = 0; each < kInFlight; ++each) {
      const int vector = first + 32 * each + lane;
      if (vector < vectors) values[each] = from[vector * step];
    }
    for (int copy = 0; copy < where.copies; ++copy) {
      Vector* to = address_of_lane(own, copy);
#pragma unroll
      for (int each = 0; each < kInFlight; ++each) {
        const int vector = first + 32 * each + lane;
        if (vector < vectors) __stcs(to + vector, values[each]);
      }
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    dispatch_kernel(ExchangeMap map, Arrays arrays, int own, double nanoseconds_a_byte) {
  __shared__ std::uint64_t started;
  __shared__ unsigned long long moved;
  BlockLink link(started, moved, nanoseconds_a_byte);
  const std::int64_t warp = threadIdx.x / 32;
  for (std::int64_t token = blockIdx.x + warp * gridDim.x; token < map.tokens;
       token += std::int64_t{kWarps} * gridDim.x) {
    const ExchangeToken where = token_of_warp(map, token, own);
    if (where.copies == 0) continue;
    for (int each = 0; each < arrays.count; ++each) {
      const SentRows& array = arrays.array[each];
      if (array.stride == 0 && array.bytes % static_cast<std::int64_t>(sizeof(uint4)) == 0) {
        send_row<uint4, kVectorsInFlight>(array, token, where);
      } else {
        send_row<unsigned, kWordsInFlight>(array, token, where);
      }
    }
    link.moved(where.crossing * arrays.bytes);
  }
}

}  // namespace

void dispatch(const ExchangeMap& map, std::span<const SentRows> arrays, const ExchangeLink& link,
              int ctas, cudaStream_t stream) {
  require(map.slots <= kMostExchangeSlots, "dispatch: up to 32 choices a token");
  require(arrays.size() <= kMostSentArrays, "dispatch: up to 4 arrays");
  require(ctas >= 1, "dispatch: ctas must be positive");
  Arrays all;
  for (const SentRows& array : arrays) {
    require(array.bytes % 4 == 0, "dispatch: bytes of a row must be a multiple of 4");
    all.array[all.count++] = array;
    all.bytes += array.bytes;
  }
  if (map.tokens == 0) return;
  const int shared = whole_sm(dispatch_kernel, "dispatch: shared memory");
  dispatch_kernel<<<static_cast<unsigned>(ctas), kThreads, static_cast<std::size_t>(shared),
                    stream>>>(map, all, link.own, nanoseconds_a_byte(link.rate, ctas));
  check_launch("dispatch");
}

}  // namespace orrery::cuda
