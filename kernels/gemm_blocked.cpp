#include "kernels/gemm_blocked.hpp"

#include <algorithm>
#include <cstring>
#include <memory>
#include <type_traits>

#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

// A tile of C: 6 rows of 64 bytes fill 12 of the 16 vector registers of AVX2, which leaves two for
// a row of B and one for an element of A.
constexpr std::int64_t kTileRows = 6;
template <class T>
constexpr std::int64_t kTileColumns = static_cast<std::int64_t>(64 / sizeof(T));

// Blocks in elements: 96 x 256 of A stay in the second-level cache while they meet 256 x 512 of B
// from the third level. kBlockTerms is part of the order of summation.
constexpr std::int64_t kBlockRows = 96;
constexpr std::int64_t kBlockTerms = 256;
constexpr std::int64_t kBlockColumns = 512;
static_assert(kBlockRows % kTileRows == 0 && kBlockColumns % kTileColumns<float> == 0);

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

template <class T, int kBytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(kBytes)));
};

// tile[6][columns] = the product of packed panels a[terms][6] and b[terms][columns]. Written with
// the compilers' vector types, which both GCC and Clang turn into registers at any level of
// optimisation that matters; loops over plain arrays are vectorised by luck. Always inlined, so
// that it is compiled for the instructions of its caller.
template <int kBytes, class T>
[[gnu::always_inline]] inline void multiply_panels(std::int64_t terms, const T* a, const T* b,
                                                   T* tile) {
  using Vector = typename VectorOf<T, kBytes>::type;
  constexpr int kLanes = kBytes / static_cast<int>(sizeof(T));
  constexpr int kRows = static_cast<int>(kTileRows);
  constexpr int kVectors = static_cast<int>(kTileColumns<T>) / kLanes;
  Vector sums[kRows][kVectors] = {};
  for (std::int64_t term = 0; term < terms; ++term) {
    Vector row[kVectors];
#pragma GCC unroll 16
    for (int vector = 0; vector < kVectors; ++vector)
      std::memcpy(&row[vector], b + vector * kLanes, sizeof(Vector));
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 16
      for (int vector = 0; vector < kVectors; ++vector) sums[i][vector] += a[i] * row[vector];
    a += kTileRows;
    b += kTileColumns<T>;
  }
  std::memcpy(tile, sums, sizeof(sums));
}

template <class T>
void multiply_baseline(std::int64_t terms, const T* a, const T* b, T* tile) {
  if constexpr (std::is_same_v<T, Dual>) {
    std::fill_n(tile, kTileRows * kTileColumns<T>, T(0));
    for (std::int64_t term = 0; term < terms; ++term)
      for (std::int64_t i = 0; i < kTileRows; ++i)
        for (std::int64_t j = 0; j < kTileColumns<T>; ++j)
          tile[i * kTileColumns<T> + j] += a[term * kTileRows + i] * b[term * kTileColumns<T> + j];
  } else {
    multiply_panels<16>(terms, a, b, tile);
  }
}

#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] void multiply_avx2(std::int64_t terms, const float* a, const float* b,
                                               float* tile) {
  multiply_panels<32>(terms, a, b, tile);
}
[[gnu::target("avx2,fma")]] void multiply_avx2(std::int64_t terms, const double* a, const double* b,
                                               double* tile) {
  multiply_panels<32>(terms, a, b, tile);
}
#endif

template <class T>
using TileKernel = void (*)(std::int64_t terms, const T* a, const T* b, T* tile);

template <class T>
TileKernel<T> tile_kernel([[maybe_unused]] Instructions instructions) {
#if defined(__x86_64__)
  if constexpr (!std::is_same_v<T, Dual>)
    if (instructions == Instructions::kAvx2) return multiply_avx2;
#endif
  return multiply_baseline<T>;
}

// Copies `lines` x `terms` of a view into panels [line / width][terms][width], the last one padded
// with zeros. A line is a row of A or a column of B.
template <class T>
void pack(std::int64_t lines, std::int64_t terms, const T* source, std::int64_t line_stride,
          std::int64_t term_stride, std::int64_t width, T* panels) {
  for (std::int64_t first = 0; first < lines; first += width, panels += terms * width) {
    const std::int64_t used = std::min(width, lines - first);
    const T* from = source + first * line_stride;
    for (std::int64_t term = 0; term < terms; ++term) {
      T* to = panels + term * width;
      for (std::int64_t line = 0; line < used; ++line)
        to[line] = from[line * line_stride + term * term_stride];
      std::fill(to + used, to + width, T(0));
    }
  }
}

}  // namespace

bool is_available([[maybe_unused]] Instructions instructions) {
#if defined(__x86_64__)
  if (instructions == Instructions::kAvx2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return instructions == Instructions::kBaseline;
}

Instructions best_instructions() {
  return is_available(Instructions::kAvx2) ? Instructions::kAvx2 : Instructions::kBaseline;
}

template <class T>
void gemm_blocked(GemmShape shape, MatrixView<T> a, MatrixView<T> b, T* c, std::int64_t ldc,
                  bool accumulate, Instructions instructions) {
  const auto [m, n, k] = shape;
  if (m == 0 || n == 0) return;
  if (k == 0) {
    if (!accumulate)
      for (std::int64_t row = 0; row < m; ++row) std::fill_n(c + row * ldc, n, T(0));
    return;
  }
  const TileKernel<T> multiply = tile_kernel<T>(instructions);
  constexpr std::int64_t kColumns = kTileColumns<T>;
  const std::int64_t block_terms = std::min(k, kBlockTerms);
  const auto panels_a = std::make_unique_for_overwrite<T[]>(
      static_cast<std::size_t>(round_up(std::min(m, kBlockRows), kTileRows) * block_terms));
  const auto panels_b = std::make_unique_for_overwrite<T[]>(
      static_cast<std::size_t>(round_up(std::min(n, kBlockColumns), kColumns) * block_terms));
  T tile[static_cast<std::size_t>(kTileRows * kColumns)];

  for (std::int64_t column = 0; column < n; column += kBlockColumns) {
    const std::int64_t columns = std::min(kBlockColumns, n - column);
    for (std::int64_t term = 0; term < k; term += kBlockTerms) {
      const std::int64_t terms = std::min(kBlockTerms, k - term);
      const bool add = accumulate || term > 0;
      pack(columns, terms, b.data + term * b.row_stride + column * b.column_stride, b.column_stride,
           b.row_stride, kColumns, panels_b.get());
      for (std::int64_t row = 0; row < m; row += kBlockRows) {
        const std::int64_t rows = std::min(kBlockRows, m - row);
        pack(rows, terms, a.data + row * a.row_stride + term * a.column_stride, a.row_stride,
             a.column_stride, kTileRows, panels_a.get());
        for (std::int64_t tile_column = 0; tile_column < columns; tile_column += kColumns) {
          const std::int64_t tile_columns = std::min(kColumns, columns - tile_column);
          for (std::int64_t tile_row = 0; tile_row < rows; tile_row += kTileRows) {
            const std::int64_t tile_rows = std::min(kTileRows, rows - tile_row);
            multiply(terms, panels_a.get() + tile_row * terms, panels_b.get() + tile_column * terms,
                     tile);
            for (std::int64_t i = 0; i < tile_rows; ++i) {
              T* into = c + (row + tile_row + i) * ldc + column + tile_column;
              const T* from = tile + i * kColumns;
              for (std::int64_t j = 0; j < tile_columns; ++j)
                into[j] = add ? into[j] + from[j] : from[j];
            }
          }
        }
      }
    }
  }
}

template void gemm_blocked(GemmShape, MatrixView<float>, MatrixView<float>, float*, std::int64_t,
                           bool, Instructions);
template void gemm_blocked(GemmShape, MatrixView<double>, MatrixView<double>, double*, std::int64_t,
                           bool, Instructions);
template void gemm_blocked(GemmShape, MatrixView<Dual>, MatrixView<Dual>, Dual*, std::int64_t, bool,
                           Instructions);

}  // namespace orrery::kernels
