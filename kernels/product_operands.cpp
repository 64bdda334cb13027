#include "kernels/product_operands.hpp"

#include "kernels/bfloat16.hpp"
#include "kernels/fp8_tiles.hpp"

namespace orrery::kernels {
namespace {

std::int64_t up_to(std::int64_t count, std::int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

std::int64_t tiles(std::int64_t count) {
  return (count + kTileLength - 1) / kTileLength;
}

std::int64_t stride(std::int64_t count) {
  return up_to(count, 4);
}

std::size_t size(std::int64_t count) {
  return static_cast<std::size_t>(count);
}

ProductOperand padded(std::int64_t rows, std::int64_t k, Padding padding) {
  ProductOperand made;
  made.rows = up_to(rows, padding.rows);
  made.k = up_to(k, padding.k);
  return made;
}

}  // namespace

ProductOperand bf16_operand(std::int64_t rows, std::int64_t columns, const float* x,
                            Padding padding) {
  ProductOperand made = padded(rows, columns, padding);
  made.bf16.assign(size(made.rows * made.k), 0);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column)
      made.bf16[size(row * made.k + column)] = to_bf16(x[row * columns + column]).bits;
  }
  return made;
}

ProductOperand bf16_operand_turned(std::int64_t rows, std::int64_t columns, const float* x,
                                   Padding padding) {
  ProductOperand made = padded(columns, rows, padding);
  made.bf16.assign(size(made.rows * made.k), 0);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column)
      made.bf16[size(column * made.k + row)] = to_bf16(x[row * columns + column]).bits;
  }
  return made;
}

ProductOperand fp8_rows_operand(std::int64_t rows, std::int64_t columns, const float* x,
                                Padding padding) {
  ProductOperand made = padded(rows, columns, padding);
  std::vector<std::uint8_t> codes(size(rows * columns));
  std::vector<float> scales(size(rows * tiles(columns)));
  quantise_rows<float>({rows, columns}, x, codes.data(), scales.data());
  made.codes.assign(size(made.rows * made.k), 0);
  made.scales.assign(size(tiles(made.k) * stride(made.rows)), 1);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column)
      made.codes[size(row * made.k + column)] = codes[size(row * columns + column)];
    for (std::int64_t tile = 0; tile < tiles(columns); ++tile)
      made.scales[size(tile * stride(made.rows) + row)] = scales[size(row * tiles(columns) + tile)];
  }
  return made;
}

ProductOperand fp8_blocks_operand(std::int64_t rows, std::int64_t columns, const float* x,
                                  bool turned, Padding padding) {
  ProductOperand made = turned ? padded(columns, rows, padding) : padded(rows, columns, padding);
  std::vector<std::uint8_t> codes(size(rows * columns));
  std::vector<float> scales(size(tiles(rows) * tiles(columns)));
  quantise_blocks<float>({rows, columns}, x, codes.data(), scales.data());
  made.codes.assign(size(made.rows * made.k), 0);
  made.scales.assign(size(tiles(made.rows) * stride(tiles(made.k))), 1);
  const auto place = [turned](std::int64_t row, std::int64_t column, std::int64_t width) {
    return size(turned ? column * width + row : row * width + column);
  };
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column)
      made.codes[place(row, column, made.k)] = codes[size(row * columns + column)];
  }
  for (std::int64_t row = 0; row < tiles(rows); ++row) {
    for (std::int64_t column = 0; column < tiles(columns); ++column) {
      made.scales[place(row, column, stride(tiles(made.k)))] =
          scales[size(row * tiles(columns) + column)];
    }
  }
  return made;
}

ProductOperand fp8_columns_operand(std::int64_t rows, std::int64_t columns, const float* x,
                                   std::int64_t first, std::int64_t last, Padding padding) {
  const std::int64_t begin = first / kTileLength * kTileLength;
  ProductOperand made = padded(columns, last - begin, padding);
  std::vector<std::uint8_t> codes(size(rows * columns));
  std::vector<float> scales(size(tiles(rows) * columns));
  quantise_columns<float>({rows, columns}, x, codes.data(), scales.data());
  made.codes.assign(size(made.rows * made.k), 0);
  made.scales.assign(size(tiles(made.k) * stride(made.rows)), 1);
  for (std::int64_t row = first; row < last; ++row) {
    for (std::int64_t column = 0; column < columns; ++column)
      made.codes[size(column * made.k + row - begin)] = codes[size(row * columns + column)];
  }
  for (std::int64_t tile = begin / kTileLength; tile < tiles(last); ++tile) {
    for (std::int64_t column = 0; column < columns; ++column) {
      made.scales[size((tile - begin / kTileLength) * stride(made.rows) + column)] =
          scales[size(tile * columns + column)];
    }
  }
  return made;
}

}  // namespace orrery::kernels
