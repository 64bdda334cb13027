#include "kernels/cuda/lt_gemm.hpp"

#include <cublasLt.h>

#include "kernels/cuda/device.cuh"

namespace orrery::cuda {
namespace {

void check_lt(cublasStatus_t status, const char* what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(std::string(what) + ": " + cublasLtGetStatusString(status));
}

constexpr std::size_t kWorkspace = std::size_t{64} << 20;
constexpr int kMostProposals = 8;

}  // namespace

struct LtLibrary::Parts {
  cublasLtHandle_t handle = nullptr;
  Device<char> workspace{kWorkspace};
};

LtLibrary::LtLibrary() : parts_(new Parts) {
  check_lt(cublasLtCreate(&parts_->handle), "cublasLtCreate");
}
LtLibrary::~LtLibrary() {
  cublasLtDestroy(parts_->handle);
}
cublasLtContext* LtLibrary::handle() const {
  return parts_->handle;
}
void* LtLibrary::workspace() const {
  return parts_->workspace.get();
}
std::size_t LtLibrary::workspace_bytes() const {
  return parts_->workspace.size();
}

struct LtGemm::Plan {
  const LtLibrary& library;
  LtShape shape;
  cublasLtMatmulDesc_t product = nullptr;
  cublasLtMatrixLayout_t weights = nullptr, activations = nullptr, result = nullptr;
  std::vector<cublasLtMatmulHeuristicResult_t> proposals = {};
  std::size_t chosen = 0;

  ~Plan() {
    cublasLtMatmulDescDestroy(product);
    for (cublasLtMatrixLayout_t layout : {weights, activations, result})
      cublasLtMatrixLayoutDestroy(layout);
  }

  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, Value value, const char* what) const {
    check_lt(cublasLtMatmulDescSetAttribute(product, attribute, &value, sizeof value), what);
  }

  void set_scales(const LtOperands& operands) const {
    if (!is_fp8(shape.precision)) return;
    set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, operands.b_scales, "scales of B");
    set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, operands.a_scales, "scales of A");
  }

  void run(const LtOperands& operands, std::size_t proposal, cudaStream_t stream) const {
    const float alpha = 1, beta = shape.accumulate ? 1 : 0;
    check_lt(cublasLtMatmul(library.handle(), product, &alpha, operands.b, weights, operands.a,
                            activations, &beta, operands.d, result, operands.d, result,
                            &proposals[proposal].algo, library.workspace(),
                            library.workspace_bytes(), stream),
             "cublasLtMatmul");
  }
};

// cuBLASLt is column-major: it computes D^T[n][m] = B A^T, so that its first operand is B. Both are
// stored with k innermost, which FP8 on Hopper asks for: first transposed, second not.
LtGemm::LtGemm(const LtLibrary& library, const LtShape& shape) : plan_(new Plan{library, shape}) {
  Plan& plan = *plan_;
  const bool fp8 = is_fp8(shape.precision);
  check_lt(cublasLtMatmulDescCreate(&plan.product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "product");
  plan.set(CUBLASLT_MATMUL_DESC_TRANSA, CUBLAS_OP_T, "transposition");
  plan.set(CUBLASLT_MATMUL_DESC_TRANSB, CUBLAS_OP_N, "transposition");
  if (shape.sms > 0)
    plan.set(CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, std::int32_t{shape.sms}, "SMs to use");
  if (fp8) {
    // 0: partial sums are promoted to float registers.
    plan.set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, std::int8_t{0}, "accumulation");
    const std::int32_t rows = CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F;
    const std::int32_t blocks = CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F;
    plan.set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE,
             shape.precision == LtPrecision::kFp8 ? blocks : rows, "scale mode of B");
    plan.set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, rows, "scale mode of A");
    // Proposals depend on scales being there, not on where.
    plan.set_scales({nullptr, nullptr, static_cast<const float*>(library.workspace()),
                     static_cast<const float*>(library.workspace()), nullptr});
  }
  const cudaDataType_t operand = fp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
  const bool weight =
      shape.precision == LtPrecision::kFp8Weight || shape.precision == LtPrecision::kBf16Weight;
  const cudaDataType_t result = weight ? CUDA_R_32F : CUDA_R_16BF;
  const auto m = static_cast<std::uint64_t>(shape.m), n = static_cast<std::uint64_t>(shape.n),
             k = static_cast<std::uint64_t>(shape.k);
  check_lt(cublasLtMatrixLayoutCreate(&plan.weights, operand, k, n, shape.k), "layout of B");
  check_lt(cublasLtMatrixLayoutCreate(&plan.activations, operand, k, m, shape.k), "layout of A");
  check_lt(cublasLtMatrixLayoutCreate(&plan.result, result, n, m, shape.n), "layout of D");
  cublasLtMatmulPreference_t preference = nullptr;
  check_lt(cublasLtMatmulPreferenceCreate(&preference), "preference");
  const std::size_t workspace = library.workspace_bytes();
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                       &workspace, sizeof workspace);
  int found = 0;
  plan.proposals.resize(kMostProposals);
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      library.handle(), plan.product, plan.weights, plan.activations, plan.result, plan.result,
      preference, kMostProposals, plan.proposals.data(), &found);
  cublasLtMatmulPreferenceDestroy(preference);
  check_lt(status, "cuBLASLt has no kernel for this product");
  require(found > 0, "cuBLASLt has no kernel for this product");
  plan.proposals.resize(static_cast<std::size_t>(found));
}

LtGemm::~LtGemm() = default;

int LtGemm::proposals() const {
  return static_cast<int>(plan_->proposals.size());
}

void LtGemm::tune(const LtOperands& operands, cudaStream_t stream) {
  constexpr int kRuns = 5;
  Plan& plan = *plan_;
  plan.set_scales(operands);
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreate(&begin), "event");
  check(cudaEventCreate(&end), "event");
  float least = 0;
  bool first = true;
  for (std::size_t proposal = 0; proposal < plan.proposals.size(); ++proposal) {
    try {
      plan.run(operands, proposal, stream);
    } catch (const DeviceError&) {
      continue;  // a proposal that this device refuses
    }
    check(cudaEventRecord(begin, stream), "event");
    for (int run = 0; run < kRuns; ++run) plan.run(operands, proposal, stream);
    check(cudaEventRecord(end, stream), "event");
    check(cudaEventSynchronize(end), "event");
    float time = 0;
    check(cudaEventElapsedTime(&time, begin, end), "event");
    if (first || time < least) {
      least = time;
      plan.chosen = proposal;
    }
    first = false;
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  require(!first, "cuBLASLt refuses all of its proposals");
}

void LtGemm::run(const LtOperands& operands, cudaStream_t stream) const {
  plan_->set_scales(operands);
  plan_->run(operands, plan_->chosen, stream);
}

}  // namespace orrery::cuda
