#include "workload/op_factory.hpp"

#include <cmath>
#include <utility>

namespace orrery {
namespace {

constexpr double kTile = 128;      // elements that share one scale
constexpr double kScaleBytes = 4;  // FP32

double tiles(double extent) {
  return std::ceil(extent / kTile);
}

DataType operand_type(Precision precision) {
  switch (precision) {
    case Precision::kFp8: return DataType::kFp8;
    case Precision::kFp8Tensor: return DataType::kFp8Tensor;
    case Precision::kBf16: break;
  }
  return DataType::kBf16;
}

}  // namespace

Op grouped_gemm(std::string name, Precision precision, int groups, double m, double n, double k) {
  Op op;
  op.name = std::move(name);
  op.kernel = groups > 1 ? KernelClass::kGroupedGemm : KernelClass::kGemm;
  op.in = operand_type(precision);
  op.out = DataType::kBf16;
  op.m = m;
  op.n = n;
  op.k = k;
  op.groups = groups;
  op.flops = Flops{2 * m * n * k};
  double bytes =
      (m * k + n * k * groups) * bytes_per_element(op.in) + m * n * bytes_per_element(op.out);
  if (precision == Precision::kFp8)
    bytes += kScaleBytes * (m * tiles(k) + tiles(n) * tiles(k) * groups);
  op.bytes = Bytes{bytes};
  return op;
}

Op gemm(std::string name, Precision precision, double m, double n, double k) {
  return grouped_gemm(std::move(name), precision, 1, m, n, k);
}

Op grouped_wgrad(std::string name, Precision precision, int groups, double m, double n, double k) {
  Op op;
  op.name = std::move(name);
  op.kernel = groups > 1 ? KernelClass::kGroupedWgrad : KernelClass::kWgrad;
  op.in = operand_type(precision);
  op.out = DataType::kFp32;
  op.m = m;
  op.n = n;
  op.k = k;
  op.groups = groups;
  op.launches =
      groups;  // one kernel an expert, alternating between two streams in the public profile
  op.flops = Flops{2 * m * n * k * groups};
  // The FP32 accumulator is read and written.
  double bytes = (m + n) * k * bytes_per_element(op.in) + 2 * m * n * bytes_per_element(op.out);
  if (precision == Precision::kFp8) bytes += kScaleBytes * (m + n) * k / kTile;
  op.bytes = Bytes{bytes * groups};
  return op;
}

Op wgrad(std::string name, Precision precision, double m, double n, double k) {
  return grouped_wgrad(std::move(name), precision, 1, m, n, k);
}

Op streaming(std::string name, KernelClass kernel, DataType in, DataType out, double rows,
             double columns, Bytes bytes, int groups) {
  Op op;
  op.name = std::move(name);
  op.kernel = kernel;
  op.in = in;
  op.out = out;
  op.m = rows;
  op.n = columns;
  op.groups = groups;
  op.bytes = bytes;
  return op;
}

Op cast(std::string name, double rows, double columns) {
  return streaming(std::move(name), KernelClass::kCast, DataType::kBf16, DataType::kFp8, rows,
                   columns, Bytes{rows * columns * 3 + kScaleBytes * rows * tiles(columns)});
}

Op cast_back(std::string name, double rows, double columns) {
  return streaming(std::move(name), KernelClass::kCastBack, DataType::kFp8, DataType::kBf16, rows,
                   columns, Bytes{rows * columns * 3 + kScaleBytes * rows * tiles(columns)});
}

Op cast_transpose(std::string name, double rows, double columns) {
  // Scales run along the rows of the input, which are the inner dimension of the weight gradient.
  return streaming(std::move(name), KernelClass::kCastTranspose, DataType::kBf16, DataType::kFp8,
                   rows, columns, Bytes{rows * columns * 3 + kScaleBytes * columns * rows / kTile});
}

Op cast_both_ways(std::string name, double rows, double columns) {
  return streaming(std::move(name), KernelClass::kCastTranspose, DataType::kBf16,
                   DataType::kFp8Tensor, rows, columns, Bytes{rows * columns * 4});
}

Op transpose_fp8(std::string name, double rows, double columns) {
  return streaming(std::move(name), KernelClass::kWeightTranspose, DataType::kFp8Tensor,
                   DataType::kFp8Tensor, rows, columns, Bytes{rows * columns * 2});
}

Op scale_transpose(double rows, double columns) {
  const double scales = tiles(columns);
  return streaming("transpose activation scales", KernelClass::kScaleTranspose, DataType::kFp32,
                   DataType::kFp32, rows, scales, Bytes{2 * kScaleBytes * rows * scales});
}

Op weight_transpose(std::string name, double rows, double columns, int groups) {
  return streaming(std::move(name), KernelClass::kWeightTranspose, DataType::kFp8, DataType::kFp8,
                   rows, columns, Bytes{2 * rows * columns * groups}, groups);
}

Op norm(std::string name, double rows, double columns) {
  return streaming(std::move(name), KernelClass::kNorm, DataType::kBf16, DataType::kBf16, rows,
                   columns, Bytes{rows * columns * 4});
}

Op norm_backward(std::string name, double rows, double columns) {
  return streaming(std::move(name), KernelClass::kNormBackward, DataType::kBf16, DataType::kBf16,
                   rows, columns, Bytes{rows * columns * 6});
}

Op copy(std::string name, double rows, double columns) {
  return streaming(std::move(name), KernelClass::kCopy, DataType::kBf16, DataType::kBf16, rows,
                   columns, Bytes{rows * columns * 4});
}

Op copy_scales(double rows, double columns) {
  const double scales = tiles(columns);
  return streaming("copy activation scales", KernelClass::kCopy, DataType::kFp32, DataType::kFp32,
                   rows, scales, Bytes{2 * kScaleBytes * rows * scales});
}

Op rope(std::string name, double rows, double columns) {
  return streaming(std::move(name), KernelClass::kRope, DataType::kBf16, DataType::kBf16, rows,
                   columns, Bytes{rows * columns * 4});
}

Op small(std::string name, int launches) {
  Op op;
  op.name = std::move(name);
  op.kernel = KernelClass::kSmall;
  op.launches = launches;
  return op;
}

Op by_rows(std::string name, KernelClass kernel, double rows, int launches) {
  Op op;
  op.name = std::move(name);
  op.kernel = kernel;
  op.m = rows;
  op.launches = launches;
  return op;
}

Op recomputed(Op op) {
  op.recompute = true;
  return op;
}

}  // namespace orrery
