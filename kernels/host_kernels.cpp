#include "kernels/host_kernels.hpp"

#include <vector>

#include "kernels/elementwise.hpp"
#include "kernels/gemm.hpp"
#include "kernels/sum.hpp"

namespace orrery::kernels {

template <class T>
void HostKernels<T>::linear(const LinearShape& s, const T* x, const T* w, T* y) {
  gemm_nt<T>({s.rows, s.outputs, s.inputs}, x, s.inputs, w, s.inputs, y, s.outputs, false);
}

template <class T>
void HostKernels<T>::linear_input_gradient(const LinearShape& s, const T* dy, const T* w, T* dx,
                                           bool accumulate) {
  gemm_nn<T>({s.rows, s.inputs, s.outputs}, dy, s.outputs, w, s.inputs, dx, s.inputs, accumulate);
}

template <class T>
void HostKernels<T>::linear_weight_gradient(const LinearShape& s, const T* dy, const T* x, T* dw) {
  gemm_tn<T>({s.outputs, s.inputs, s.rows}, dy, s.outputs, x, s.inputs, dw, s.inputs, true);
}

template <class T>
void HostKernels<T>::grouped_forward(const GroupedShape& shape, ProductType, const T* x,
                                     const T* weights, T* y) {
  kernels::grouped_forward<T>(shape, x, weights, y);
}

template <class T>
void HostKernels<T>::grouped_input_gradient(const GroupedShape& shape, ProductType, const T* dy,
                                            const T* weights, T* dx) {
  kernels::grouped_input_gradient<T>(shape, dy, weights, dx);
}

template <class T>
void HostKernels<T>::grouped_weight_gradient(const GroupedShape& shape, ProductType, const T* x,
                                             const T* dy, T* dweights) {
  kernels::grouped_weight_gradient<T>(shape, x, dy, dweights);
}

template <class T>
void HostKernels<T>::quantise(TileShape shape, Tiles tiles, const T* x, T* y) {
  switch (tiles) {
    case Tiles::kRows: return fake_quantise_rows<T>(shape, x, y);
    case Tiles::kColumns: return fake_quantise_columns<T>(shape, x, y);
    case Tiles::kBlocks: return fake_quantise_blocks<T>(shape, x, y);
  }
}

template <class T>
void HostKernels<T>::narrow_to_e5m6(std::int64_t n, const T* x, T* y) {
  fake_quantise_e5m6<T>(n, x, y);
}

template <class T>
void HostKernels<T>::attention_forward(const AttentionShape& shape, double scale, const T* q,
                                       const T* k, const T* v, T* out, T* lse) {
  kernels::attention_forward<T>(shape, scale, q, k, v, out, lse);
}

template <class T>
void HostKernels<T>::attention_backward_delta(const AttentionShape& shape, const T* out,
                                              const T* dout, T* delta) {
  kernels::attention_backward_delta<T>(shape, out, dout, delta);
}

template <class T>
void HostKernels<T>::attention_backward(const AttentionShape& shape, double scale, const T* q,
                                        const T* k, const T* v, const T*, const T* dout,
                                        const T* lse, const T* delta, T* dq, T* dk, T* dv) {
  kernels::attention_backward<T>(shape, scale, q, k, v, dout, lse, delta, dq, dk, dv);
}

template <class T>
void HostKernels<T>::place_keys_and_values(const MlaLayout& layout, const T* kv_up, T* k, T* v) {
  kernels::place_keys_and_values<T>(layout, kv_up, k, v);
}

template <class T>
void HostKernels<T>::broadcast_rope_key(const MlaLayout& layout, const T* k_rope, T* k) {
  kernels::broadcast_rope_key<T>(layout, k_rope, k);
}

template <class T>
void HostKernels<T>::reduce_rope_key_gradient(const MlaLayout& layout, const T* dk, T* dk_rope) {
  kernels::reduce_rope_key_gradient<T>(layout, dk, dk_rope);
}

template <class T>
void HostKernels<T>::take_key_gradient(const MlaLayout& layout, const T* dk, T* dkv_up) {
  kernels::take_key_gradient<T>(layout, dk, dkv_up);
}

template <class T>
void HostKernels<T>::take_value_gradient(const MlaLayout& layout, const T* dv, T* dkv_up) {
  kernels::take_value_gradient<T>(layout, dv, dkv_up);
}

template <class T>
void HostKernels<T>::rms_norm_forward(RmsNormShape shape, const T* x, const T* weight,
                                      double epsilon, T* y, T* inverse_rms) {
  kernels::rms_norm_forward<T>(shape, x, weight, epsilon, y, inverse_rms);
}

template <class T>
void HostKernels<T>::rms_norm_backward_input(RmsNormShape shape, const T* x, const T* weight,
                                             const T* inverse_rms, const T* dy, T* dx) {
  kernels::rms_norm_backward_input<T>(shape, x, weight, inverse_rms, dy, dx);
}

template <class T>
void HostKernels<T>::rms_norm_backward_weight(RmsNormShape shape, const T* x, const T* inverse_rms,
                                              const T* dy, T* dweight) {
  kernels::rms_norm_backward_weight<T>(shape, x, inverse_rms, dy, dweight);
}

template <class T>
void HostKernels<T>::rope(const RopeShape& shape, const std::int32_t* positions, double theta,
                          bool backward, T* x) {
  if (backward) return rope_backward<T>(shape, positions, theta, x);
  rope_forward<T>(shape, positions, theta, x);
}

template <class T>
void HostKernels<T>::swiglu_forward(SwigluShape shape, const T* gate_up, const T* row_weight,
                                    T* out) {
  kernels::swiglu_forward<T>(shape, gate_up, row_weight, out);
}

template <class T>
void HostKernels<T>::swiglu_backward_input(SwigluShape shape, const T* gate_up, const T* row_weight,
                                           const T* dout, T* dgate_up) {
  kernels::swiglu_backward_input<T>(shape, gate_up, row_weight, dout, dgate_up);
}

template <class T>
void HostKernels<T>::swiglu_row_weight_gradient(SwigluShape shape, const T* gate_up, const T* dout,
                                                T* drow_weight) {
  kernels::swiglu_row_weight_gradient<T>(shape, gate_up, dout, drow_weight);
}

template <class T>
void HostKernels<T>::router_scores(const RouterShape& shape, const T* logits, T* scores) {
  kernels::router_scores<T>(shape, logits, scores);
}

template <class T>
void HostKernels<T>::router_choose_groups(const RouterShape& shape, const T* scores, const T* bias,
                                          std::int32_t* group_chosen) {
  kernels::router_choose_groups<T>(shape, scores, bias, group_chosen);
}

template <class T>
void HostKernels<T>::router_choose_experts(const RouterShape& shape, const T* scores, const T* bias,
                                           const std::int32_t* group_chosen, std::int32_t* choice) {
  kernels::router_choose_experts<T>(shape, scores, bias, group_chosen, choice);
}

template <class T>
void HostKernels<T>::router_weights(const RouterShape& shape, const T* scores,
                                    const std::int32_t* choice, double scale, T* weights) {
  kernels::router_weights<T>(shape, scores, choice, scale, weights);
}

template <class T>
void HostKernels<T>::router_backward(const RouterShape& shape, const T* scores,
                                     const std::int32_t* choice, double scale, const T* dweights,
                                     const BalanceLoss* balance, double loss_scale, T* dlogits) {
  kernels::router_backward<T>(shape, scores, choice, scale, dweights, balance, loss_scale, dlogits);
}

template <class T>
void HostKernels<T>::expand_rows(std::int64_t rows, std::int64_t hidden, RowType, std::int64_t,
                                 const std::int32_t* token_of_row, const T* x, T* out) {
  kernels::expand_rows<T>(rows, hidden, token_of_row, x, out);
}

template <class T>
void HostKernels<T>::reduce_rows(const PermuteShape& shape, std::int64_t hidden, std::int64_t,
                                 const std::int32_t* row_of, const T* y, T* out) {
  kernels::reduce_rows<T>(shape, hidden, row_of, y, out);
}

template <class T>
void HostKernels<T>::embedding_lookup(const EmbeddingShape& shape, const std::int32_t* ids,
                                      const T* table, T* out) {
  kernels::embedding_lookup<T>(shape, ids, table, out);
}

template <class T>
void HostKernels<T>::embedding_gradient(const EmbeddingShape& shape, const std::int32_t* ids,
                                        const T* dout, T* dtable) {
  kernels::embedding_gradient<T>(shape, ids, dout, dtable);
}

template <class T>
void HostKernels<T>::cross_entropy(const CrossEntropyShape& shape, const std::int32_t* targets,
                                   T scale, T* logits, T* loss) {
  const auto tokens = static_cast<std::size_t>(shape.tokens);
  std::vector<T> max(tokens), sum_exp(tokens), target_logit(tokens);
  kernels::cross_entropy_statistics<T>(shape, logits, targets, max.data(), sum_exp.data(),
                                       target_logit.data());
  cross_entropy_loss<T>(shape.tokens, targets, max.data(), sum_exp.data(), target_logit.data(),
                        loss);
  kernels::cross_entropy_gradient<T>(shape, targets, max.data(), sum_exp.data(), scale, logits);
}

template <class T>
void HostKernels<T>::cross_entropy_statistics(const CrossEntropyShape& shape, const T* logits,
                                              const std::int32_t* targets, T* max, T* sum_exp,
                                              T* target_logit) {
  kernels::cross_entropy_statistics<T>(shape, logits, targets, max, sum_exp, target_logit);
}

template <class T>
void HostKernels<T>::cross_entropy_gradient(const CrossEntropyShape& shape,
                                            const std::int32_t* targets, const T* max,
                                            const T* sum_exp, T scale, T* logits) {
  kernels::cross_entropy_gradient<T>(shape, targets, max, sum_exp, scale, logits);
}

template <class T>
void HostKernels<T>::add(std::int64_t n, const T* a, const T* b, T* out) {
  kernels::add<T>(n, a, b, out);
}

template <class T>
void HostKernels<T>::adamw(std::int64_t n, const AdamwStep& step, const T* gradient, T* parameter,
                           T* first_moment, T* second_moment) {
  kernels::adamw<T, T>(n, step, gradient, parameter, first_moment, second_moment);
}

template <class T>
void HostKernels<T>::adamw(std::int64_t n, const AdamwStep& step, const T* gradient, T* parameter,
                           Bf16* first_moment, Bf16* second_moment) {
  kernels::adamw<T, Bf16>(n, step, gradient, parameter, first_moment, second_moment);
}

template <class T>
double HostKernels<T>::squared_sum(std::int64_t n, const T* x) {
  return sum_of<double>(n, [x](std::int64_t at) {
    const auto value = static_cast<double>(x[at]);
    return value * value;
  });
}

template <class T>
KernelSet<T>& host_kernels() {
  static HostKernels<T> set;
  return set;
}

template class HostKernels<float>;
template class HostKernels<double>;
template KernelSet<float>& host_kernels<float>();
template KernelSet<double>& host_kernels<double>();

}  // namespace orrery::kernels
