#pragma once
// A token of an exchange as the warp that moves it sees it. Private to dispatch and combine.
#include "kernels/cuda/exchange_map.hpp"
#include "kernels/cuda/few_sms.cuh"

namespace orrery::cuda {

constexpr unsigned kWholeWarp = 0xffffffffu;

// Lane l < copies has the l-th destination of the token and the row there.
struct ExchangeToken {
  int copies = 0;    // in every lane
  int crossing = 0;  // of them, those that cross the link; in every lane
  std::int32_t destination = -1;
  std::int64_t row = 0;
};

__device__ inline ExchangeToken token_of_warp(const ExchangeMap& map, std::int64_t token, int own) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  ExchangeToken out;
  if (lane < map.slots) out.destination = map.destination_of[token * map.slots + lane];
  const bool used = out.destination >= 0;
  if (used) {
    out.row = map.row_of[token * map.slots + lane];
    if (map.first_row != nullptr) out.row += map.first_row[out.destination];
  }
  // Destinations come first and are ascending, so the lanes that have one are the first.
  out.copies = __popc(__ballot_sync(kWholeWarp, used));
  out.crossing = __popc(__ballot_sync(kWholeWarp, used && out.destination != own));
  return out;
}

// The address that lane `lane` has.
template <class T>
__device__ T* address_of_lane(T* own, int lane) {
  return reinterpret_cast<T*>(
      __shfl_sync(kWholeWarp, reinterpret_cast<unsigned long long>(own), lane));
}

// What the warps of a block moved over its share of a link.
class BlockLink {
 public:
  // By all threads of the block, each with the same two variables in shared memory.
  __device__ BlockLink(std::uint64_t& started, unsigned long long& moved, double nanoseconds_a_byte)
      : started_(started), moved_(moved), nanoseconds_a_byte_(nanoseconds_a_byte) {
    if (threadIdx.x == 0) {
      started = nanoseconds();
      moved = 0;
    }
    __syncthreads();
  }
  // By a warp that has moved so much more.
  __device__ void moved(std::int64_t bytes) {
    if (nanoseconds_a_byte_ == 0) return;
    if (threadIdx.x % 32 == 0) {
      const auto more = static_cast<unsigned long long>(bytes);
      const unsigned long long all = atomicAdd(&moved_, more) + more;
      hold_until(started_, static_cast<double>(all) * nanoseconds_a_byte_);
    }
    __syncwarp();
  }

 private:
  const std::uint64_t& started_;
  unsigned long long& moved_;
  double nanoseconds_a_byte_;
};

}  // namespace orrery::cuda
