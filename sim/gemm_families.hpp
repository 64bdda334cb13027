#pragma once
// The GEMM models of a device, one for each kernel class and data type, from its calibration
// tables.
//
//                    law                                             corrected by training rows
//   fp8              of the kernels of the training run              yes
//   bf16, fp8-tensor the best of a library's tilings                 bf16
//   wgrad, fp8       fitted to the training rows themselves          yes
//   wgrad, others    that of the product, and an accumulated result  bf16, near what was measured
//
// A weight gradient with 1x128 scales has scales along the dimension that it sums over on both
// sides; the others are products like any, of which the result is read and written in FP32.
#include <map>
#include <utility>

#include "sim/gemm_model.hpp"

namespace orrery {

// Which measurements the GEMM times may rest on.
enum class GemmEvidence {
  kTraining,    // law, corrected by what was measured inside training
  kStandalone,  // law alone: nothing from the training trace
};

using GemmFamilies = std::map<std::pair<KernelClass, DataType>, GemmModel>;

// Without those whose tables the calibration lacks.
GemmFamilies gemm_families(const Calibration& calibration, GemmEvidence evidence);

}  // namespace orrery
