#pragma once
// The set of kernels on a GPU (kernels/kernel_set.hpp): every function by the kernels beside it,
// its arrays rounded to BF16 or quantised to E4M3 on the way to the device, results brought back.
// What is stored narrow is that of kernels/rounded_kernels.hpp, function by function; operands of
// FP8 products are quantised by the host, which gives the codes that a cast's values came from.
//
//   products    a cuBLASLt product each, those of experts one after another, padded to whole tiles
//   attention   cuDNN; delta is part of its backward, so that by itself it costs nothing
//   the router  a thread a token (kernels/cuda/token_router.hpp)
//
// Kernels are timed by a KernelClock. Calls of several threads take turns.
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "kernels/cuda/attention.hpp"
#include "kernels/cuda/kernel_clock.hpp"
#include "kernels/cuda/lt_gemm.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/product_operands.hpp"

namespace orrery::cuda {

class CudaKernels : public kernels::KernelSet<float> {
 public:
  CudaKernels();
  ~CudaKernels() override;

  KernelClock& clock() { return clock_; }
  // Held during every call; whoever times several holds it meanwhile.
  std::recursive_mutex& turn() { return turn_; }
  bool failed() const { return failed_; }  // a call has thrown
  // A copy in device memory of so many bytes (a multiple of 16), so many times.
  void copy(std::int64_t bytes, int times);

  void linear(const kernels::LinearShape& shape, const float* x, const float* w, float* y) override;
  void linear_input_gradient(const kernels::LinearShape& shape, const float* dy, const float* w,
                             float* dx, bool accumulate) override;
  void linear_weight_gradient(const kernels::LinearShape& shape, const float* dy, const float* x,
                              float* dw) override;
  void grouped_forward(const kernels::GroupedShape& shape, kernels::ProductType type,
                       const float* x, const float* weights, float* y) override;
  void grouped_input_gradient(const kernels::GroupedShape& shape, kernels::ProductType type,
                              const float* dy, const float* weights, float* dx) override;
  void grouped_weight_gradient(const kernels::GroupedShape& shape, kernels::ProductType type,
                               const float* x, const float* dy, float* dweights) override;
  void quantise(kernels::TileShape shape, kernels::Tiles tiles, const float* x, float* y) override;
  void narrow_to_e5m6(std::int64_t n, const float* x, float* y) override;
  void attention_forward(const kernels::AttentionShape& shape, double scale, const float* q,
                         const float* k, const float* v, float* out, float* lse) override;
  void attention_backward_delta(const kernels::AttentionShape& shape, const float* out,
                                const float* dout, float* delta) override;
  void attention_backward(const kernels::AttentionShape& shape, double scale, const float* q,
                          const float* k, const float* v, const float* out, const float* dout,
                          const float* lse, const float* delta, float* dq, float* dk,
                          float* dv) override;
  void place_keys_and_values(const kernels::MlaLayout& layout, const float* kv_up, float* k,
                             float* v) override;
  void broadcast_rope_key(const kernels::MlaLayout& layout, const float* k_rope, float* k) override;
  void reduce_rope_key_gradient(const kernels::MlaLayout& layout, const float* dk,
                                float* dk_rope) override;
  void take_key_gradient(const kernels::MlaLayout& layout, const float* dk, float* dkv_up) override;
  void take_value_gradient(const kernels::MlaLayout& layout, const float* dv,
                           float* dkv_up) override;
  void rms_norm_forward(kernels::RmsNormShape shape, const float* x, const float* weight,
                        double epsilon, float* y, float* inverse_rms) override;
  void rms_norm_backward_input(kernels::RmsNormShape shape, const float* x, const float* weight,
                               const float* inverse_rms, const float* dy, float* dx) override;
  void rms_norm_backward_weight(kernels::RmsNormShape shape, const float* x,
                                const float* inverse_rms, const float* dy, float* dweight) override;
  void rope(const kernels::RopeShape& shape, const std::int32_t* positions, double theta,
            bool backward, float* x) override;
  void swiglu_forward(kernels::SwigluShape shape, const float* gate_up, const float* row_weight,
                      float* out) override;
  void swiglu_backward_input(kernels::SwigluShape shape, const float* gate_up,
                             const float* row_weight, const float* dout, float* dgate_up) override;
  void swiglu_row_weight_gradient(kernels::SwigluShape shape, const float* gate_up,
                                  const float* dout, float* drow_weight) override;
  void expand_rows(std::int64_t rows, std::int64_t hidden, kernels::RowType type,
                   std::int64_t tokens, const std::int32_t* token_of_row, const float* x,
                   float* out) override;
  void reduce_rows(const kernels::PermuteShape& shape, std::int64_t hidden, std::int64_t rows,
                   const std::int32_t* row_of, const float* y, float* out) override;
  void embedding_lookup(const kernels::EmbeddingShape& shape, const std::int32_t* ids,
                        const float* table, float* out) override;
  void embedding_gradient(const kernels::EmbeddingShape& shape, const std::int32_t* ids,
                          const float* dout, float* dtable) override;
  void cross_entropy(const kernels::CrossEntropyShape& shape, const std::int32_t* targets,
                     float scale, float* logits, float* loss) override;
  void cross_entropy_statistics(const kernels::CrossEntropyShape& shape, const float* logits,
                                const std::int32_t* targets, float* max, float* sum_exp,
                                float* target_logit) override;
  void cross_entropy_gradient(const kernels::CrossEntropyShape& shape, const std::int32_t* targets,
                              const float* max, const float* sum_exp, float scale,
                              float* logits) override;
  void add(std::int64_t n, const float* a, const float* b, float* out) override;
  void router_scores(const kernels::RouterShape& shape, const float* logits,
                     float* scores) override;
  void router_choose_groups(const kernels::RouterShape& shape, const float* scores,
                            const float* bias, std::int32_t* group_chosen) override;
  void router_choose_experts(const kernels::RouterShape& shape, const float* scores,
                             const float* bias, const std::int32_t* group_chosen,
                             std::int32_t* choice) override;
  void router_weights(const kernels::RouterShape& shape, const float* scores,
                      const std::int32_t* choice, double scale, float* weights) override;
  void router_backward(const kernels::RouterShape& shape, const float* scores,
                       const std::int32_t* choice, double scale, const float* dweights,
                       const kernels::BalanceLoss* balance, double loss_scale,
                       float* dlogits) override;
  void adamw(std::int64_t n, const kernels::AdamwStep& step, const float* gradient,
             float* parameter, float* first_moment, float* second_moment) override;
  void adamw(std::int64_t n, const kernels::AdamwStep& step, const float* gradient,
             float* parameter, kernels::Bf16* first_moment, kernels::Bf16* second_moment) override;
  double squared_sum(std::int64_t n, const float* x) override;

 private:
  class Call;
  struct Memory;

  // D[m][n] of two operands: `of` columns of each of `rows` rows of `result` are its elements.
  struct Product {
    LtPrecision precision = LtPrecision::kBf16;
    kernels::ProductOperand a, b;
    float* result = nullptr;
    std::int64_t rows = 0, columns = 0;
    bool accumulate = false;
  };
  void multiply(Call& call, const std::vector<Product>& products);
  const LtGemm& gemm(const LtShape& shape, const LtOperands& operands);
  const float* rope_angles(std::int64_t length, std::int64_t dim, double theta);

  using Heads =
      std::tuple<std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, double>;
  static Heads heads(const kernels::AttentionShape& shape, double scale);

  std::recursive_mutex turn_;
  bool failed_ = false;
  KernelClock clock_;
  std::unique_ptr<Memory> memory_;
  LtLibrary lt_;
  CudnnLibrary cudnn_;
  std::map<std::tuple<LtPrecision, std::int64_t, std::int64_t, std::int64_t, bool>,
           std::unique_ptr<LtGemm>>
      gemms_;
  std::map<Heads, std::unique_ptr<AttentionForward>> forwards_;
  std::map<Heads, std::unique_ptr<AttentionBackward>> backwards_;
};

}  // namespace orrery::cuda
