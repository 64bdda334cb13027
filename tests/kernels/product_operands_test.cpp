#include "kernels/product_operands.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/bfloat16.hpp"
#include "kernels/fp8.hpp"
#include "kernels/fp8_tiles.hpp"

namespace orrery::kernels {
namespace {

std::vector<float> wave(std::int64_t count) {
  std::vector<float> values;
  for (std::int64_t at = 0; at < count; ++at)
    values.push_back(static_cast<float>(std::sin(0.37 * static_cast<double>(at + 1))));
  return values;
}

std::int64_t stride(std::int64_t count) {
  return (count + 3) / 4 * 4;
}

// What a library multiplies with: [row][k], scales of rows or of blocks.
float rows_value(const ProductOperand& operand, std::int64_t row, std::int64_t k) {
  return decode_e4m3(operand.codes[std::size_t(row * operand.k + k)]) *
         operand.scales[std::size_t(k / 128 * stride(operand.rows) + row)];
}
float blocks_value(const ProductOperand& operand, std::int64_t row, std::int64_t k) {
  const std::int64_t tiles = (operand.k + 127) / 128;
  return decode_e4m3(operand.codes[std::size_t(row * operand.k + k)]) *
         operand.scales[std::size_t(row / 128 * stride(tiles) + k / 128)];
}

TEST_CASE("operands in BF16 are padded with zeros, as they are and turned") {
  const std::int64_t rows = 5, columns = 11;
  const auto x = wave(rows * columns);
  const ProductOperand as_is = bf16_operand(rows, columns, x.data(), {8, 8});
  const ProductOperand turned = bf16_operand_turned(rows, columns, x.data(), {8, 8});
  CHECK(as_is.rows == 8);
  CHECK(as_is.k == 16);
  CHECK(turned.rows == 16);
  CHECK(turned.k == 8);
  for (std::int64_t row = 0; row < 8; ++row) {
    for (std::int64_t column = 0; column < 16; ++column) {
      const bool inside = row < rows && column < columns;
      const std::uint16_t bits =
          inside ? to_bf16(x[std::size_t(row * columns + column)]).bits : std::uint16_t{0};
      CHECK(as_is.bf16[std::size_t(row * 16 + column)] == bits);
      CHECK(turned.bf16[std::size_t(column * 8 + row)] == bits);
    }
  }
}

TEST_CASE("operands in E4M3 stand for what a cast stores, whatever they are padded to") {
  const std::int64_t rows = 200, columns = 150;
  const auto x = wave(rows * columns);
  std::vector<float> by_rows(x.size()), by_columns(x.size()), by_blocks(x.size());
  fake_quantise_rows<float>({rows, columns}, x.data(), by_rows.data());
  fake_quantise_columns<float>({rows, columns}, x.data(), by_columns.data());
  fake_quantise_blocks<float>({rows, columns}, x.data(), by_blocks.data());
  const ProductOperand a = fp8_rows_operand(rows, columns, x.data(), {8, 128});
  const ProductOperand b = fp8_blocks_operand(rows, columns, x.data(), false, {128, 128});
  const ProductOperand t = fp8_blocks_operand(rows, columns, x.data(), true, {128, 128});
  const ProductOperand c = fp8_columns_operand(rows, columns, x.data(), 0, rows, {8, 128});
  // An expert's rows, begun and ended within tiles.
  const std::int64_t first = 130, last = 190;
  const ProductOperand e = fp8_columns_operand(rows, columns, x.data(), first, last, {8, 128});
  CHECK(a.k == 256);
  CHECK(b.rows == 256);
  CHECK(t.rows == 256);
  CHECK(c.k == 256);
  CHECK(c.rows == 152);
  CHECK(e.k == 128);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column) {
      const auto at = std::size_t(row * columns + column);
      REQUIRE(rows_value(a, row, column) == by_rows[at]);
      REQUIRE(blocks_value(b, row, column) == by_blocks[at]);
      REQUIRE(blocks_value(t, column, row) == by_blocks[at]);
      REQUIRE(rows_value(c, column, row) == by_columns[at]);
      if (row < 128) continue;
      const bool own = row >= first && row < last;
      REQUIRE(rows_value(e, column, row - 128) == (own ? by_columns[at] : 0));
    }
  }
  for (std::int64_t k = columns; k < a.k; ++k) REQUIRE(rows_value(a, rows - 1, k) == 0);
  for (std::int64_t k = rows; k < c.k; ++k) REQUIRE(rows_value(c, 3, k) == 0);
}

}  // namespace
}  // namespace orrery::kernels
