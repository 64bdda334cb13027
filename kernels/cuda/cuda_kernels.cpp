#include "kernels/cuda/cuda_kernels.hpp"

#include "kernels/cuda/copy.hpp"
#include "kernels/cuda/cuda_call.cuh"
#include "kernels/cuda/quantise.hpp"
#include "kernels/fp8.hpp"

namespace orrery::cuda {
namespace {

using kernels::Padding;
using kernels::ProductOperand;
using kernels::ProductType;

constexpr Padding kBf16 = {8, 8};
constexpr Padding kFp8Rows = {8, 128};      // activations; both operands of weight gradients
constexpr Padding kFp8Blocks = {128, 128};  // weights

LtPrecision precision_of(ProductType type) {
  switch (type) {
    case ProductType::kFp8: return LtPrecision::kFp8;
    case ProductType::kBf16: return LtPrecision::kBf16;
    case ProductType::kFloat: return LtPrecision::kBf16Weight;  // a result in float
  }
  return LtPrecision::kBf16;
}

// [rows][columns] as it is.
ProductOperand activations(ProductType type, std::int64_t rows, std::int64_t columns,
                           const float* x) {
  return type == ProductType::kFp8 ? fp8_rows_operand(rows, columns, x, kFp8Rows)
                                   : bf16_operand(rows, columns, x, kBf16);
}

// [outputs][inputs]: as it is in a forward, turned in an input gradient.
ProductOperand weights(ProductType type, std::int64_t outputs, std::int64_t inputs, const float* w,
                       bool turned) {
  if (type == ProductType::kFp8) return fp8_blocks_operand(outputs, inputs, w, turned, kFp8Blocks);
  return turned ? bf16_operand_turned(outputs, inputs, w, kBf16)
                : bf16_operand(outputs, inputs, w, kBf16);
}

// Rows [first, last) of [rows][columns], turned: of a weight gradient.
ProductOperand turned_rows(ProductType type, std::int64_t rows, std::int64_t columns,
                           const float* x, std::int64_t first, std::int64_t last) {
  if (type == ProductType::kFp8)
    return fp8_columns_operand(rows, columns, x, first, last, kFp8Rows);
  return bf16_operand_turned(last - first, columns, x + first * columns, kBf16);
}

LtPrecision weight_precision(ProductType type) {
  return type == ProductType::kFp8 ? LtPrecision::kFp8Weight : LtPrecision::kBf16Weight;
}

bool float_result(LtPrecision precision) {
  return precision == LtPrecision::kBf16Weight || precision == LtPrecision::kFp8Weight;
}

// [rows][columns] of float into or out of [..][stride] of V.
template <class V, class Convert>
std::vector<V> padded(std::int64_t rows, std::int64_t columns, std::int64_t all_rows,
                      std::int64_t stride, const float* from, Convert convert) {
  std::vector<V> wide(static_cast<std::size_t>(all_rows * stride), V{});
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column)
      wide[static_cast<std::size_t>(row * stride + column)] = convert(from[row * columns + column]);
  }
  return wide;
}
template <class V, class Convert>
void cut(std::int64_t rows, std::int64_t columns, std::int64_t stride, const std::vector<V>& wide,
         float* to, Convert convert) {
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column)
      to[row * columns + column] = convert(wide[static_cast<std::size_t>(row * stride + column)]);
  }
}

}  // namespace

CudaKernels::CudaKernels() : memory_(std::make_unique<Memory>()) {}

CudaKernels::~CudaKernels() {
  cudaDeviceSynchronize();
}

void CudaKernels::copy(std::int64_t bytes, int times) {
  Call call(*this);
  char* from = call.memory(bytes);
  char* to = call.memory(bytes);
  call.run([&] {
    for (int each = 0; each < times; ++each)
      cuda::copy(from, to, static_cast<std::size_t>(bytes), 0, call.stream());
  });
}

const LtGemm& CudaKernels::gemm(const LtShape& shape, const LtOperands& operands) {
  std::unique_ptr<LtGemm>& made =
      gemms_[{shape.precision, shape.m, shape.n, shape.k, shape.accumulate}];
  if (made == nullptr) {
    made = std::make_unique<LtGemm>(lt_, shape);
    made->tune(operands, clock_.stream());
  }
  return *made;
}

void CudaKernels::multiply(Call& call, const std::vector<Product>& products) {
  struct Launch {
    const LtGemm* gemm;
    LtOperands operands;
  };
  std::vector<Launch> launches;
  for (const Product& product : products) {
    const bool fp8 = is_fp8(product.precision);
    LtOperands operands;
    if (fp8) {
      operands.a = call.upload<std::uint8_t>(product.a.codes);
      operands.b = call.upload<std::uint8_t>(product.b.codes);
      operands.a_scales = call.upload<float>(product.a.scales);
      operands.b_scales = call.upload<float>(product.b.scales);
    } else {
      operands.a = call.upload<std::uint16_t>(product.a.bf16);
      operands.b = call.upload<std::uint16_t>(product.b.bf16);
    }
    const std::int64_t m = product.a.rows, n = product.b.rows;
    const std::int64_t element = float_result(product.precision) ? 4 : 2;
    char* d = call.memory(m * n * element);
    operands.d = d;
    // What is added to; both conversions keep `product`, which outlives the call.
    call.before([&call, &product, d, m, n] {
      if (!product.accumulate) return;
      if (float_result(product.precision)) {
        const auto wide = padded<float>(product.rows, product.columns, m, n, product.result,
                                        [](float value) { return value; });
        call.send(d, wide.data(), m * n * 4);
      } else {
        const auto wide = padded<kernels::Bf16>(product.rows, product.columns, m, n, product.result,
                                                kernels::to_bf16);
        call.send(d, wide.data(), m * n * 2);
      }
    });
    call.after([&call, &product, d, m, n] {
      if (float_result(product.precision)) {
        std::vector<float> wide(static_cast<std::size_t>(m * n));
        call.fetch(wide.data(), d, m * n * 4);
        cut(product.rows, product.columns, n, wide, product.result,
            [](float value) { return value; });
      } else {
        std::vector<kernels::Bf16> wide(static_cast<std::size_t>(m * n));
        call.fetch(wide.data(), d, m * n * 2);
        cut(product.rows, product.columns, n, wide, product.result, kernels::to_float);
      }
    });
    const LtShape shape{product.precision, m, n, product.a.k, product.accumulate};
    launches.push_back({&gemm(shape, operands), operands});
  }
  call.run([&] {
    for (const Launch& launch : launches) launch.gemm->run(launch.operands, call.stream());
  });
}

void CudaKernels::linear(const kernels::LinearShape& s, const float* x, const float* w, float* y) {
  Call call(*this);
  if (s.rows == 0) return;
  multiply(call, {{precision_of(s.type), activations(s.type, s.rows, s.inputs, x),
                   weights(s.type, s.outputs, s.inputs, w, false), y, s.rows, s.outputs, false}});
}

void CudaKernels::linear_input_gradient(const kernels::LinearShape& s, const float* dy,
                                        const float* w, float* dx, bool accumulate) {
  Call call(*this);
  if (s.rows == 0) return;
  const LtPrecision precision =
      s.type == ProductType::kFp8 ? LtPrecision::kFp8 : LtPrecision::kBf16;
  multiply(call,
           {{precision, activations(s.type, s.rows, s.outputs, dy),
             weights(s.type, s.outputs, s.inputs, w, true), dx, s.rows, s.inputs, accumulate}});
}

void CudaKernels::linear_weight_gradient(const kernels::LinearShape& s, const float* dy,
                                         const float* x, float* dw) {
  Call call(*this);
  if (s.rows == 0) return;
  multiply(call,
           {{weight_precision(s.type), turned_rows(s.type, s.rows, s.outputs, dy, 0, s.rows),
             turned_rows(s.type, s.rows, s.inputs, x, 0, s.rows), dw, s.outputs, s.inputs, true}});
}

// Groups without rows have no product.
void CudaKernels::grouped_forward(const kernels::GroupedShape& s, ProductType type, const float* x,
                                  const float* w, float* y) {
  Call call(*this);
  std::vector<Product> products;
  for (std::int64_t group = 0; group < s.groups; ++group) {
    const std::int64_t first = s.offsets[group], rows = s.offsets[group + 1] - first;
    if (rows == 0) continue;
    products.push_back({precision_of(type), activations(type, rows, s.k, x + first * s.k),
                        weights(type, s.n, s.k, w + group * s.n * s.k, false), y + first * s.n,
                        rows, s.n, false});
  }
  multiply(call, products);
}

void CudaKernels::grouped_input_gradient(const kernels::GroupedShape& s, ProductType type,
                                         const float* dy, const float* w, float* dx) {
  Call call(*this);
  std::vector<Product> products;
  for (std::int64_t group = 0; group < s.groups; ++group) {
    const std::int64_t first = s.offsets[group], rows = s.offsets[group + 1] - first;
    if (rows == 0) continue;
    products.push_back({precision_of(type), activations(type, rows, s.n, dy + first * s.n),
                        weights(type, s.n, s.k, w + group * s.n * s.k, true), dx + first * s.k,
                        rows, s.k, false});
  }
  multiply(call, products);
}

void CudaKernels::grouped_weight_gradient(const kernels::GroupedShape& s, ProductType type,
                                          const float* x, const float* dy, float* dw) {
  Call call(*this);
  const std::int64_t all = s.offsets[s.groups];
  std::vector<Product> products;
  for (std::int64_t group = 0; group < s.groups; ++group) {
    const std::int64_t first = s.offsets[group], last = s.offsets[group + 1];
    if (first == last) continue;
    products.push_back({weight_precision(type), turned_rows(type, all, s.n, dy, first, last),
                        turned_rows(type, all, s.k, x, first, last), dw + group * s.n * s.k, s.n,
                        s.k, true});
  }
  multiply(call, products);
}

// ---------------------------------------------------------------------------------------------------------------------
// Casts

void CudaKernels::quantise(kernels::TileShape shape, kernels::Tiles tiles, const float* x,
                           float* y) {
  Call call(*this);
  if (shape.rows * shape.columns == 0) return;
  const bool by_rows = tiles == kernels::Tiles::kRows;
  // Whole tiles, of which those at the ends may be filled with zeros: they change no scale.
  const ProductOperand wide =
      bf16_operand(shape.rows, shape.columns, x, by_rows ? Padding{8, 128} : Padding{128, 128});
  const std::int64_t rows = wide.rows, columns = wide.k;
  const std::int64_t stride = tiles == kernels::Tiles::kBlocks ? scale_stride(columns / 128)
                              : by_rows                        ? scale_stride(rows)
                                                               : scale_stride(columns);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * columns));
  std::vector<float> scales(static_cast<std::size_t>((by_rows ? columns : rows) / 128 * stride));
  const Bf16* from = call.upload<Bf16>(wide.bf16);
  std::uint8_t* to = call.out(static_cast<std::int64_t>(codes.size()), codes.data());
  float* scale = call.out(static_cast<std::int64_t>(scales.size()), scales.data());
  call.run([&] {
    switch (tiles) {
      case kernels::Tiles::kRows:
        return quantise_rows(rows, columns, from, to, scale, call.stream());
      case kernels::Tiles::kColumns:
        return quantise_columns(rows, columns, from, to, scale, call.stream());
      case kernels::Tiles::kBlocks:
        return quantise_blocks(rows, columns, from, to, scale, call.stream());
    }
  });
  for (std::int64_t row = 0; row < shape.rows; ++row) {
    for (std::int64_t column = 0; column < shape.columns; ++column) {
      const bool turned = tiles == kernels::Tiles::kColumns;
      const std::int64_t code = turned ? column * rows + row : row * columns + column;
      const std::int64_t at = turned    ? row / 128 * stride + column
                              : by_rows ? column / 128 * stride + row
                                        : row / 128 * stride + column / 128;
      y[row * shape.columns + column] =
          kernels::decode_e4m3(codes[static_cast<std::size_t>(code)]) *
          scales[static_cast<std::size_t>(at)];
    }
  }
}

}  // namespace orrery::cuda
