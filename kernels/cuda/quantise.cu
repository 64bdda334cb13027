#include "kernels/cuda/device_math.cuh"
#include "kernels/cuda/quantise.hpp"

namespace orrery::cuda {
namespace {

constexpr int kThreads = 256;

// Each of a thread's vectors is eight neighbours of a row, 16 threads have a tile. `columns` is a
// multiple of 128, so a tile never leaves its row.
constexpr int kEachThread = 4;
__global__ void __launch_bounds__(kThreads)
    rows_kernel(std::int64_t vectors, std::int64_t columns, std::int64_t stride, const Bf16* x,
                std::uint8_t* codes, float* scales) {
  const std::int64_t first = std::int64_t{blockIdx.x} * kThreads * kEachThread + threadIdx.x;
  Bf16x8 loaded[kEachThread];
#pragma unroll
  for (int each = 0; each < kEachThread; ++each) {
    const std::int64_t vector = first + each * kThreads;
    if (vector < vectors) loaded[each] = load8(x + vector * kLanes);
  }
#pragma unroll
  for (int each = 0; each < kEachThread; ++each) {
    const std::int64_t vector = first + each * kThreads;
    // Threads beyond the end take part in the tile's maximum with zeros.
    float values[kLanes] = {};
    if (vector < vectors) unpack(loaded[each], values);
    const float scale = tile_scale(tile_amax(values));
    if (vector >= vectors) continue;
    reinterpret_cast<uint2*>(codes)[vector] = e4m3x8(values, scale);
    const std::int64_t element = vector * kLanes;
    const std::int64_t row = element / columns, column = element - row * columns;
    if (column % kTile == 0) scales[column / kTile * stride + row] = scale;
  }
}

// A block turns 128 rows x 64 columns: reads rows, writes columns.
constexpr int kColumns = 64, kParts = kThreads / kColumns, kPartRows = kTile / kParts;
__global__ void __launch_bounds__(kThreads)
    columns_kernel(std::int64_t rows, std::int64_t columns, std::int64_t stride, const Bf16* x,
                   std::uint8_t* codes, float* scales) {
  // One more word a row, so that a column's elements lie in different banks.
  __shared__ Bf16 tile[kTile][kColumns + 2];
  __shared__ float amax[kParts][kColumns];
  const std::int64_t first_row = std::int64_t{blockIdx.y} * kTile;
  const std::int64_t first_column = std::int64_t{blockIdx.x} * kColumns;
  constexpr int kVectors = kColumns / kLanes;
#pragma unroll
  for (int at = threadIdx.x; at < kTile * kVectors; at += kThreads) {
    const int row = at / kVectors, column = at % kVectors * kLanes;
    const Bf16x8 values = load8(x + (first_row + row) * columns + first_column + column);
#pragma unroll
    for (int pair = 0; pair < 4; ++pair)
      *reinterpret_cast<__nv_bfloat162*>(&tile[row][column + 2 * pair]) = values.pair[pair];
  }
  __syncthreads();
  const int column = threadIdx.x % kColumns, part = threadIdx.x / kColumns;
  float largest = 0;
#pragma unroll
  for (int row = 0; row < kPartRows; ++row)
    largest = fmaxf(largest, fabsf(__bfloat162float(tile[part * kPartRows + row][column])));
  amax[part][column] = largest;
  __syncthreads();
#pragma unroll
  for (int other = 0; other < kParts; ++other) largest = fmaxf(largest, amax[other][column]);
  const float scale = tile_scale(largest);
  const Divisor divisor(scale);
  std::uint32_t words[kPartRows / 4];
#pragma unroll
  for (int word = 0; word < kPartRows / 4; ++word) {
    words[word] = 0;
#pragma unroll
    for (int byte = 0; byte < 4; ++byte) {
      const float value = __bfloat162float(tile[part * kPartRows + 4 * word + byte][column]);
      words[word] |= static_cast<std::uint32_t>(e4m3(divisor.divide(value))) << (8 * byte);
    }
  }
  std::uint8_t* out = codes + (first_column + column) * rows + first_row + part * kPartRows;
#pragma unroll
  for (int word = 0; word < kPartRows / 4; word += 4) {
    reinterpret_cast<uint4*>(out)[word / 4] =
        make_uint4(words[word], words[word + 1], words[word + 2], words[word + 3]);
  }
  if (part == 0) scales[std::int64_t{blockIdx.y} * stride + first_column + column] = scale;
}

__global__ void __launch_bounds__(kThreads, 4)
    blocks_kernel(std::int64_t columns, std::int64_t stride, const Bf16* x, std::uint8_t* codes,
                  float* scales) {
  __shared__ float amax[kThreads / 32];
  constexpr int kEach = kTile * kTile / kLanes / kThreads;
  const std::int64_t first = std::int64_t{blockIdx.y} * kTile * columns + blockIdx.x * kTile;
  // Kept as they come, in half the registers: twice as many blocks are on an SM.
  Bf16x8 loaded[kEach];
#pragma unroll
  for (int each = 0; each < kEach; ++each) {
    const int at = each * kThreads + static_cast<int>(threadIdx.x);
    loaded[each] = load8(x + first + at / kTileThreads * columns + at % kTileThreads * kLanes);
  }
  float largest = 0;
#pragma unroll
  for (int each = 0; each < kEach; ++each) {
    float values[kLanes];
    unpack(loaded[each], values);
#pragma unroll
    for (float value : values) largest = fmaxf(largest, fabsf(value));
  }
#pragma unroll
  for (int distance = kTileThreads / 2; distance > 0; distance /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, distance));
  largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, kTileThreads));
  if (threadIdx.x % 32 == 0) amax[threadIdx.x / 32] = largest;
  __syncthreads();
  for (float other : amax) largest = fmaxf(largest, other);
  const float scale = tile_scale(largest);
#pragma unroll
  for (int each = 0; each < kEach; ++each) {
    const int at = each * kThreads + static_cast<int>(threadIdx.x);
    float values[kLanes];
    unpack(loaded[each], values);
    *reinterpret_cast<uint2*>(codes + first + at / kTileThreads * columns +
                              at % kTileThreads * kLanes) = e4m3x8(values, scale);
  }
  if (threadIdx.x == 0) scales[blockIdx.y * stride + blockIdx.x] = scale;
}

}  // namespace

void quantise_rows(std::int64_t rows, std::int64_t columns, const Bf16* x, std::uint8_t* codes,
                   float* scales, cudaStream_t stream) {
  require(columns % kTile == 0, "quantise_rows: columns must be a multiple of 128");
  const std::int64_t vectors = rows * columns / kLanes;
  if (vectors == 0) return;
  constexpr int kOfBlock = kThreads * kEachThread;
  const auto blocks = static_cast<unsigned>((vectors + kOfBlock - 1) / kOfBlock);
  rows_kernel<<<blocks, kThreads, 0, stream>>>(vectors, columns, scale_stride(rows), x, codes,
                                               scales);
  check_launch("quantise_rows");
}

void quantise_columns(std::int64_t rows, std::int64_t columns, const Bf16* x, std::uint8_t* codes,
                      float* scales, cudaStream_t stream) {
  require(rows % kTile == 0 && columns % kColumns == 0,
          "quantise_columns: rows must be a multiple of 128, columns of 64");
  if (rows * columns == 0) return;
  const dim3 blocks(static_cast<unsigned>(columns / kColumns), static_cast<unsigned>(rows / kTile));
  columns_kernel<<<blocks, kThreads, 0, stream>>>(rows, columns, scale_stride(columns), x, codes,
                                                  scales);
  check_launch("quantise_columns");
}

void quantise_blocks(std::int64_t rows, std::int64_t columns, const Bf16* x, std::uint8_t* codes,
                     float* scales, cudaStream_t stream) {
  require(rows % kTile == 0 && columns % kTile == 0,
          "quantise_blocks: rows and columns must be multiples of 128");
  if (rows * columns == 0) return;
  const dim3 blocks(static_cast<unsigned>(columns / kTile), static_cast<unsigned>(rows / kTile));
  blocks_kernel<<<blocks, kThreads, 0, stream>>>(columns, scale_stride(columns / kTile), x, codes,
                                                 scales);
  check_launch("quantise_blocks");
}

}  // namespace orrery::cuda
