#include "kernels/cuda/combine.hpp"
#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/exchange_token.cuh"

namespace orrery::cuda {
namespace {

// A warp a token; the rows of eight destinations are in flight together, then added in order.
constexpr int kThreads = 512, kWarps = kThreads / 32, kCopies = 8, kInFlight = 2;

__device__ void add_rows(const ReturnedRows& rows, std::int64_t token, const ExchangeToken& where) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int vectors = static_cast<int>(rows.hidden / kLanes);
  const Bf16* own = nullptr;
  if (where.destination >= 0) own = rows.from[where.destination] + where.row * rows.hidden;
  for (int first = 0; first < vectors; first += 32 * kInFlight) {
    float sum[kInFlight][kLanes] = {};
    for (int group = 0; group < where.copies; group += kCopies) {
      Bf16x8 values[kCopies][kInFlight];
#pragma unroll
      for (int copy = 0; copy < kCopies; ++copy) {
        if (group + copy >= where.copies) break;
        const Bf16* from = address_of_lane(own, group + copy);
#pragma unroll
        for (int each = 0; each < kInFlight; ++each) {
          const int vector = first + 32 * each + lane;
          if (vector < vectors) values[copy][each] = load8(from + vector * kLanes);
        }
      }
#pragma unroll
      for (int copy = 0; copy < kCopies; ++copy) {
        if (group + copy >= where.copies) break;
#pragma unroll
        for (int each = 0; each < kInFlight; ++each) {
          if (first + 32 * each + lane >= vectors) continue;
          float added[kLanes];
          unpack(values[copy][each], added);
#pragma unroll
          for (int at = 0; at < kLanes; ++at) sum[each][at] += added[at];
        }
      }
    }
#pragma unroll
    for (int each = 0; each < kInFlight; ++each) {
      const int vector = first + 32 * each + lane;
      if (vector < vectors)
        store8(rows.out + token * rows.hidden + vector * kLanes, pack(sum[each]));
    }
  }
}

__device__ void add_weights(const ReturnedWeights& weights, std::int64_t token,
                            const ExchangeToken& where) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float* own = nullptr;
  if (where.destination >= 0) own = weights.from[where.destination] + where.row * weights.columns;
  for (std::int64_t first = 0; first < weights.columns; first += 32) {
    float sum = 0;
    for (int copy = 0; copy < where.copies; ++copy) {
      const float* from = address_of_lane(own, copy);
      if (first + lane < weights.columns) sum += from[first + lane];
    }
    if (first + lane < weights.columns) weights.out[token * weights.columns + first + lane] = sum;
  }
}

__global__ void __launch_bounds__(kThreads)
    combine_kernel(ExchangeMap map, ReturnedRows rows, ReturnedWeights weights, int own,
                   double nanoseconds_a_byte) {
  __shared__ std::uint64_t started;
  __shared__ unsigned long long moved;
  BlockLink link(started, moved, nanoseconds_a_byte);
  const std::int64_t warp = threadIdx.x / 32;
  const std::int64_t bytes = 2 * rows.hidden + 4 * weights.columns;
  for (std::int64_t token = blockIdx.x + warp * gridDim.x; token < map.tokens;
       token += std::int64_t{kWarps} * gridDim.x) {
    const ExchangeToken where = token_of_warp(map, token, own);
    add_rows(rows, token, where);
    if (weights.columns > 0) add_weights(weights, token, where);
    link.moved(where.crossing * bytes);
  }
}

}  // namespace

void combine(const ExchangeMap& map, const ReturnedRows& rows, const ReturnedWeights& weights,
             const ExchangeLink& link, int ctas, cudaStream_t stream) {
  require(map.slots <= kMostExchangeSlots, "combine: up to 32 choices a token");
  require(rows.hidden % kLanes == 0, "combine: hidden must be a multiple of 8");
  require(ctas >= 1, "combine: ctas must be positive");
  if (map.tokens == 0) return;
  const int shared = whole_sm(combine_kernel, "combine: shared memory");
  combine_kernel<<<static_cast<unsigned>(ctas), kThreads, static_cast<std::size_t>(shared),
                   stream>>>(map, rows, weights, link.own, nanoseconds_a_byte(link.rate, ctas));
  check_launch("combine");
}

}  // namespace orrery::cuda
