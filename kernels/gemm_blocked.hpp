#pragma once
// The matrix product of kernels/gemm.hpp in plain C++: C[m,n] (+)= A[m,k] B[k,n], where the strides
// of a view say which of A and B is stored transposed. Blocks of A and B are packed to fit the
// caches, and a kernel that keeps a 6-row tile of C in registers works through them (Goto & van de
// Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008).
//
// Why the sums depend on k alone: tiles at the edges of C are padded with zeros to full size, so
// every element of C is one lane of the same sequence: over each 256 terms in turn, from a register
// that starts at zero, then added to C.
//
// Internal: users call kernels/gemm.hpp.
#include <cstdint>

#include "kernels/gemm.hpp"

namespace orrery::kernels {

template <class T>
struct MatrixView {
  const T* data = nullptr;
  std::int64_t row_stride = 0;     // elements from one row to the next
  std::int64_t column_stride = 0;  // elements from one column to the next
};

// What the innermost loop is compiled for. Chosen at run time, so that one binary runs everywhere
// and no compiler flag is needed. A fused multiply-add rounds once where kBaseline rounds twice:
// the two agree to rounding, not bitwise.
enum class Instructions : std::uint8_t {
  kBaseline,  // what the whole program is compiled for
  kAvx2,      // x86-64 with AVX2 and fused multiply-add
};

bool is_available(Instructions instructions);

// The fastest that this processor has.
Instructions best_instructions();

// For T = Dual, `instructions` makes no difference.
template <class T>
void gemm_blocked(GemmShape shape, MatrixView<T> a, MatrixView<T> b, T* c, std::int64_t ldc,
                  bool accumulate, Instructions instructions = best_instructions());

}  // namespace orrery::kernels
