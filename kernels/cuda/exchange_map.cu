#include "kernels/cuda/device.cuh"
#include "kernels/cuda/exchange_map.hpp"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 1024, kWarps = kThreads / 32;

// A block a destination. It goes through the tokens a thread a token, so that the number of a row
// is a count of the threads before: none depends on the order in which blocks or warps run.
__global__ void __launch_bounds__(kThreads)
    map_kernel(kernels::ExchangeShape shape, const std::int32_t* experts_of_token, int own,
               std::int32_t* const* counts_of_member, std::int32_t* destination_of,
               std::int32_t* row_of) {
  __shared__ int in_warp[kWarps];
  const auto destination = static_cast<std::int32_t>(blockIdx.x);
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  int before = 0;  // rows of the tokens of earlier rounds
  for (std::int64_t first = 0; first < shape.tokens; first += kThreads) {
    const std::int64_t token = first + threadIdx.x;
    const std::int32_t* choices = experts_of_token + token * shape.slots;
    const bool goes = token < shape.tokens && kernels::goes_to(shape, choices, destination);
    const unsigned all = __ballot_sync(0xffffffffu, goes);
    if (lane == 0) in_warp[warp] = __popc(all);
    __syncthreads();
    int row = before + __popc(all & ((1u << lane) - 1));
    for (int other = 0; other < kWarps; ++other) {
      if (other < warp) row += in_warp[other];
      before += in_warp[other];
    }
    if (goes) {
      const std::int64_t at =
          token * shape.slots + kernels::destinations_below(shape, choices, destination);
      destination_of[at] = destination;
      row_of[at] = row;
    }
    // What no destination writes.
    if (destination == 0 && token < shape.tokens) {
      const int used = kernels::destinations_below(shape, choices, shape.destinations);
      for (int slot = used; slot < shape.slots; ++slot) {
        destination_of[token * shape.slots + slot] = -1;
        row_of[token * shape.slots + slot] = -1;
      }
    }
    __syncthreads();
  }
  for (int member = static_cast<int>(threadIdx.x); member < shape.destinations; member += kThreads)
    counts_of_member[member][own * shape.destinations + destination] = before;
}

__global__ void first_rows_kernel(int members, int own, const std::int32_t* counts,
                                  std::int32_t* first_row) {
  const int receiver = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (receiver < members)
    first_row[receiver] = kernels::first_row_of(members, counts, own, receiver);
}

}  // namespace

void map_exchange(const kernels::ExchangeShape& shape, const std::int32_t* experts_of_token,
                  int own, std::int32_t* const* counts_of_member, std::int32_t* destination_of,
                  std::int32_t* row_of, cudaStream_t stream) {
  require(shape.slots <= kMostExchangeSlots, "map_exchange: up to 32 choices a token");
  map_kernel<<<static_cast<unsigned>(shape.destinations), kThreads, 0, stream>>>(
      shape, experts_of_token, own, counts_of_member, destination_of, row_of);
  check_launch("map_exchange");
}

void first_rows(int members, int own, const std::int32_t* counts, std::int32_t* first_row,
                cudaStream_t stream) {
  constexpr int kEach = 128;
  first_rows_kernel<<<static_cast<unsigned>((members + kEach - 1) / kEach), kEach, 0, stream>>>(
      members, own, counts, first_row);
  check_launch("first_rows");
}

}  // namespace orrery::cuda
