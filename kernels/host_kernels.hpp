#pragma once
// The host's kernels as a set: in T throughout, whatever a product's type says; to the bit what the
// functions beside it compute. Stateless.
#include "kernels/kernel_set.hpp"

namespace orrery::kernels {

template <class T>
class HostKernels : public KernelSet<T> {
 public:
  void linear(const LinearShape& shape, const T* x, const T* w, T* y) override;
  void linear_input_gradient(const LinearShape& shape, const T* dy, const T* w, T* dx,
                             bool accumulate) override;
  void linear_weight_gradient(const LinearShape& shape, const T* dy, const T* x, T* dw) override;
  void grouped_forward(const GroupedShape& shape, ProductType type, const T* x, const T* weights,
                       T* y) override;
  void grouped_input_gradient(const GroupedShape& shape, ProductType type, const T* dy,
                              const T* weights, T* dx) override;
  void grouped_weight_gradient(const GroupedShape& shape, ProductType type, const T* x, const T* dy,
                               T* dweights) override;
  void quantise(TileShape shape, Tiles tiles, const T* x, T* y) override;
  void narrow_to_e5m6(std::int64_t n, const T* x, T* y) override;
  void attention_forward(const AttentionShape& shape, double scale, const T* q, const T* k,
                         const T* v, T* out, T* lse) override;
  void attention_backward_delta(const AttentionShape& shape, const T* out, const T* dout,
                                T* delta) override;
  void attention_backward(const AttentionShape& shape, double scale, const T* q, const T* k,
                          const T* v, const T* out, const T* dout, const T* lse, const T* delta,
                          T* dq, T* dk, T* dv) override;
  void place_keys_and_values(const MlaLayout& layout, const T* kv_up, T* k, T* v) override;
  void broadcast_rope_key(const MlaLayout& layout, const T* k_rope, T* k) override;
  void reduce_rope_key_gradient(const MlaLayout& layout, const T* dk, T* dk_rope) override;
  void take_key_gradient(const MlaLayout& layout, const T* dk, T* dkv_up) override;
  void take_value_gradient(const MlaLayout& layout, const T* dv, T* dkv_up) override;
  void rms_norm_forward(RmsNormShape shape, const T* x, const T* weight, double epsilon, T* y,
                        T* inverse_rms) override;
  void rms_norm_backward_input(RmsNormShape shape, const T* x, const T* weight,
                               const T* inverse_rms, const T* dy, T* dx) override;
  void rms_norm_backward_weight(RmsNormShape shape, const T* x, const T* inverse_rms, const T* dy,
                                T* dweight) override;
  void rope(const RopeShape& shape, const std::int32_t* positions, double theta, bool backward,
            T* x) override;
  void swiglu_forward(SwigluShape shape, const T* gate_up, const T* row_weight, T* out) override;
  void swiglu_backward_input(SwigluShape shape, const T* gate_up, const T* row_weight,
                             const T* dout, T* dgate_up) override;
  void swiglu_row_weight_gradient(SwigluShape shape, const T* gate_up, const T* dout,
                                  T* drow_weight) override;
  void router_scores(const RouterShape& shape, const T* logits, T* scores) override;
  void router_choose_groups(const RouterShape& shape, const T* scores, const T* bias,
                            std::int32_t* group_chosen) override;
  void router_choose_experts(const RouterShape& shape, const T* scores, const T* bias,
                             const std::int32_t* group_chosen, std::int32_t* choice) override;
  void router_weights(const RouterShape& shape, const T* scores, const std::int32_t* choice,
                      double scale, T* weights) override;
  void router_backward(const RouterShape& shape, const T* scores, const std::int32_t* choice,
                       double scale, const T* dweights, const BalanceLoss* balance,
                       double loss_scale, T* dlogits) override;
  void expand_rows(std::int64_t rows, std::int64_t hidden, RowType type, std::int64_t tokens,
                   const std::int32_t* token_of_row, const T* x, T* out) override;
  void reduce_rows(const PermuteShape& shape, std::int64_t hidden, std::int64_t rows,
                   const std::int32_t* row_of, const T* y, T* out) override;
  void embedding_lookup(const EmbeddingShape& shape, const std::int32_t* ids, const T* table,
                        T* out) override;
  void embedding_gradient(const EmbeddingShape& shape, const std::int32_t* ids, const T* dout,
                          T* dtable) override;
  void cross_entropy(const CrossEntropyShape& shape, const std::int32_t* targets, T scale,
                     T* logits, T* loss) override;
  void cross_entropy_statistics(const CrossEntropyShape& shape, const T* logits,
                                const std::int32_t* targets, T* max, T* sum_exp,
                                T* target_logit) override;
  void cross_entropy_gradient(const CrossEntropyShape& shape, const std::int32_t* targets,
                              const T* max, const T* sum_exp, T scale, T* logits) override;
  void add(std::int64_t n, const T* a, const T* b, T* out) override;
  void adamw(std::int64_t n, const AdamwStep& step, const T* gradient, T* parameter,
             T* first_moment, T* second_moment) override;
  void adamw(std::int64_t n, const AdamwStep& step, const T* gradient, T* parameter,
             Bf16* first_moment, Bf16* second_moment) override;
  double squared_sum(std::int64_t n, const T* x) override;
};

// One for all who need no other.
template <class T>
KernelSet<T>& host_kernels();

extern template class HostKernels<float>;
extern template class HostKernels<double>;

}  // namespace orrery::kernels
