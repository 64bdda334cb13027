#pragma once
// Constructors of ops: each states the FLOPs and the bytes of its kernel class, so that no formula
// is written twice. Bytes are one pass over operands and results (the "minimum" of a kernel), FP32
// scales included.
//
// FP8 scales: activations one per 1x128 tile, weights one per 128x128 block (DeepSeek-V3 report,
// section 3.3.2). With one scale a tensor (Precision::kFp8Tensor) an operand is cast once, along
// its rows and its columns in one pass, and scales move next to nothing.
#include <string>

#include "core/layout.hpp"
#include "core/op.hpp"

namespace orrery {

// D[m,n] = A[m,k] B[k,n]: forward or input gradient. Output BF16.
Op gemm(std::string name, Precision precision, double m, double n, double k);
// The same over `groups` experts; m is the rows of all of them.
Op grouped_gemm(std::string name, Precision precision, int groups, double m, double n, double k);
// D[m,n] += A[k,m]^T B[k,n] into the FP32 main gradient; k = tokens.
Op wgrad(std::string name, Precision precision, double m, double n, double k);
// The same for `groups` experts of k tokens each.
Op grouped_wgrad(std::string name, Precision precision, int groups, double m, double n, double k);

// A kernel that streams `bytes` and computes next to nothing; rows x columns for people.
Op streaming(std::string name, KernelClass kernel, DataType in, DataType out, double rows,
             double columns, Bytes bytes, int groups = 1);

Op cast(std::string name, double rows, double columns);       // BF16 -> FP8, 1x128 scales
Op cast_back(std::string name, double rows, double columns);  // FP8 -> BF16
Op cast_transpose(std::string name, double rows,
                  double columns);  // BF16 -> FP8, scales along the rows
// BF16 -> FP8 as it is and transposed, one scale a tensor known before.
Op cast_both_ways(std::string name, double rows, double columns);
Op transpose_fp8(std::string name, double rows, double columns);  // of what is FP8 already
Op scale_transpose(double rows, double columns);  // of an activation [rows, columns]
Op weight_transpose(std::string name, double rows, double columns, int groups = 1);
Op norm(std::string name, double rows, double columns);
Op norm_backward(std::string name, double rows, double columns);
Op copy(std::string name, double rows, double columns);  // BF16
Op copy_scales(double rows, double columns);             // FP32 scales of [rows, columns]
Op rope(std::string name, double rows, double columns);
Op small(std::string name, int launches);  // latency-bound
// A kernel whose cost follows the rows it handles, without a byte model.
Op by_rows(std::string name, KernelClass kernel, double rows, int launches = 1);

// Marks an op as there only because its result was not stored.
Op recomputed(Op op);

}  // namespace orrery
