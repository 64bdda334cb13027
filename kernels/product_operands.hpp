#pragma once
// Operands of matrix products as a GPU's library takes them (kernels/cuda/lt_gemm.hpp), made of
// arrays in float: D[m][n] = A[m][k] B[n][k]^T with both operands innermost in k, in BF16 or in
// E4M3 with scales, padded with zeros to whole tiles. The three products of a linear layer y[rows,
// outputs] = x[rows, inputs] w[outputs, inputs]^T are
//
//                     A                     B                       k
//   forward           x      [rows][in]     w        [out][in]      inputs
//   input gradient    dy     [rows][out]    w turned [in][out]      outputs
//   weight gradient   dy turned [out][rows] x turned [in][rows]     rows
//
// Scales (quantise.hpp beside lt_gemm.hpp): of rows [k / 128][stride(rows)], of blocks
// [rows / 128][stride(k / 128)], where stride rounds up to a multiple of 4.
#include <cstdint>
#include <vector>

namespace orrery::kernels {

struct ProductOperand {
  std::int64_t rows = 0, k = 0;     // with padding
  std::vector<std::uint16_t> bf16;  // [rows][k], or
  std::vector<std::uint8_t> codes;  // [rows][k] with
  std::vector<float> scales;
};

// How far rows and k are padded: to multiples of these.
struct Padding {
  std::int64_t rows = 8, k = 8;
};

// x [rows][columns] as it is, k = columns.
ProductOperand bf16_operand(std::int64_t rows, std::int64_t columns, const float* x,
                            Padding padding);
// The same turned: k = rows.
ProductOperand bf16_operand_turned(std::int64_t rows, std::int64_t columns, const float* x,
                                   Padding padding);

// Quantised in tiles of 1 x 128 along the columns, k = columns.
ProductOperand fp8_rows_operand(std::int64_t rows, std::int64_t columns, const float* x,
                                Padding padding);
// Quantised in blocks of 128 x 128; turned: k = rows.
ProductOperand fp8_blocks_operand(std::int64_t rows, std::int64_t columns, const float* x,
                                  bool turned, Padding padding);
// Rows [first, last) of x [rows][columns], quantised in tiles of 128 x 1 of all rows, turned: k
// begins with the tile that `first` lies in, what it has of other rows is 0.
ProductOperand fp8_columns_operand(std::int64_t rows, std::int64_t columns, const float* x,
                                   std::int64_t first, std::int64_t last, Padding padding);

}  // namespace orrery::kernels
