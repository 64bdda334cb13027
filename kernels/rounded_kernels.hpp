#pragma once
// The host's kernels with the roundings of a GPU's: operands and results are narrowed where a set
// on a GPU stores them narrow, sums stay in float. What training computes in those formats can be
// looked at so on any machine; nothing is measured by it.
//
//   products        operands BF16, or E4M3 with the scales of kernels/fp8_tiles.hpp: activations in
//                   tiles along the inner dimension, weights in blocks; results BF16, of
//                   ProductType::kFloat and of weight gradients float
//   activations     and their gradients BF16 wherever a kernel reads or writes them; inside
//                   attention the probabilities and their gradients, as operands of a product
//   float           weights and gradients of norms, inverse RMS, log-sum-exp, delta, the router
//                   behind its logits, routing weights, losses, parameters and their gradients
#include "kernels/host_kernels.hpp"

namespace orrery::kernels {

class RoundedKernels : public HostKernels<float> {
 public:
  void linear(const LinearShape& shape, const float* x, const float* w, float* y) override;
  void linear_input_gradient(const LinearShape& shape, const float* dy, const float* w, float* dx,
                             bool accumulate) override;
  void linear_weight_gradient(const LinearShape& shape, const float* dy, const float* x,
                              float* dw) override;
  void grouped_forward(const GroupedShape& shape, ProductType type, const float* x,
                       const float* weights, float* y) override;
  void grouped_input_gradient(const GroupedShape& shape, ProductType type, const float* dy,
                              const float* weights, float* dx) override;
  void grouped_weight_gradient(const GroupedShape& shape, ProductType type, const float* x,
                               const float* dy, float* dweights) override;
  void quantise(TileShape shape, Tiles tiles, const float* x, float* y) override;
  void narrow_to_e5m6(std::int64_t n, const float* x, float* y) override;
  void attention_forward(const AttentionShape& shape, double scale, const float* q, const float* k,
                         const float* v, float* out, float* lse) override;
  void attention_backward_delta(const AttentionShape& shape, const float* out, const float* dout,
                                float* delta) override;
  void attention_backward(const AttentionShape& shape, double scale, const float* q, const float* k,
                          const float* v, const float* out, const float* dout, const float* lse,
                          const float* delta, float* dq, float* dk, float* dv) override;
  void place_keys_and_values(const MlaLayout& layout, const float* kv_up, float* k,
                             float* v) override;
  void broadcast_rope_key(const MlaLayout& layout, const float* k_rope, float* k) override;
  void reduce_rope_key_gradient(const MlaLayout& layout, const float* dk, float* dk_rope) override;
  void take_key_gradient(const MlaLayout& layout, const float* dk, float* dkv_up) override;
  void take_value_gradient(const MlaLayout& layout, const float* dv, float* dkv_up) override;
  void rms_norm_forward(RmsNormShape shape, const float* x, const float* weight, double epsilon,
                        float* y, float* inverse_rms) override;
  void rms_norm_backward_input(RmsNormShape shape, const float* x, const float* weight,
                               const float* inverse_rms, const float* dy, float* dx) override;
  void rms_norm_backward_weight(RmsNormShape shape, const float* x, const float* inverse_rms,
                                const float* dy, float* dweight) override;
  void rope(const RopeShape& shape, const std::int32_t* positions, double theta, bool backward,
            float* x) override;
  void swiglu_forward(SwigluShape shape, const float* gate_up, const float* row_weight,
                      float* out) override;
  void swiglu_backward_input(SwigluShape shape, const float* gate_up, const float* row_weight,
                             const float* dout, float* dgate_up) override;
  void swiglu_row_weight_gradient(SwigluShape shape, const float* gate_up, const float* dout,
                                  float* drow_weight) override;
  void expand_rows(std::int64_t rows, std::int64_t hidden, RowType type, std::int64_t tokens,
                   const std::int32_t* token_of_row, const float* x, float* out) override;
  void reduce_rows(const PermuteShape& shape, std::int64_t hidden, std::int64_t rows,
                   const std::int32_t* row_of, const float* y, float* out) override;
  void embedding_lookup(const EmbeddingShape& shape, const std::int32_t* ids, const float* table,
                        float* out) override;
  void embedding_gradient(const EmbeddingShape& shape, const std::int32_t* ids, const float* dout,
                          float* dtable) override;
  void cross_entropy(const CrossEntropyShape& shape, const std::int32_t* targets, float scale,
                     float* logits, float* loss) override;
  void cross_entropy_statistics(const CrossEntropyShape& shape, const float* logits,
                                const std::int32_t* targets, float* max, float* sum_exp,
                                float* target_logit) override;
  void cross_entropy_gradient(const CrossEntropyShape& shape, const std::int32_t* targets,
                              const float* max, const float* sum_exp, float scale,
                              float* logits) override;
  void add(std::int64_t n, const float* a, const float* b, float* out) override;
};

}  // namespace orrery::kernels
