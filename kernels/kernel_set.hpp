#pragma once
// The kernels that ops of a Program are made of, behind one interface, so that the same ops run on
// different hardware: on the host (kernels/host_kernels.hpp), on the host with the roundings of a
// GPU (kernels/rounded_kernels.hpp), on a GPU (kernels/virtual_device.hpp).
//
// All arrays lie in the memory of the host, elements of type T, whatever a set stores them as
// meanwhile; shapes, layouts and formulas are those of the header named after each group. A set may
// be called by several threads at once. A set on a GPU throws std::runtime_error where it fails or
// has no kernel for a shape.
#include <cstdint>

#include "kernels/adamw.hpp"
#include "kernels/attention.hpp"
#include "kernels/cross_entropy.hpp"
#include "kernels/embedding.hpp"
#include "kernels/fp8_tiles.hpp"
#include "kernels/grouped_gemm.hpp"
#include "kernels/mla_layout.hpp"
#include "kernels/permute.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope.hpp"
#include "kernels/router.hpp"
#include "kernels/swiglu.hpp"

namespace orrery::kernels {

// What a product's operands and its result are stored as, where the set narrows them at all. The
// result of a weight gradient is added in float.
enum class ProductType : std::uint8_t {
  kFp8,    // E4M3: 1 x 128 tiles along the inner dimension, weights in 128 x 128; result BF16
  kBf16,   // operands and result BF16
  kFloat,  // operands BF16, result float
};

// A linear layer y[rows, outputs] = x[rows, inputs] w[outputs, inputs]^T.
struct LinearShape {
  std::int64_t rows = 0, outputs = 0, inputs = 0;
  ProductType type = ProductType::kBf16;
};

enum class Tiles : std::uint8_t { kRows, kColumns, kBlocks };  // kernels/fp8_tiles.hpp

// What the rows that are copied are stored as: E4M3 codes and scales of rows, or BF16.
enum class RowType : std::uint8_t { kFp8, kBf16 };

template <class T>
class KernelSet {
 public:
  virtual ~KernelSet() = default;

  // kernels/gemm.hpp. y; dx (+)= dy w; dw += dy^T x.
  virtual void linear(const LinearShape& shape, const T* x, const T* w, T* y) = 0;
  virtual void linear_input_gradient(const LinearShape& shape, const T* dy, const T* w, T* dx,
                                     bool accumulate) = 0;
  virtual void linear_weight_gradient(const LinearShape& shape, const T* dy, const T* x, T* dw) = 0;

  // kernels/grouped_gemm.hpp
  virtual void grouped_forward(const GroupedShape& shape, ProductType type, const T* x,
                               const T* weights, T* y) = 0;
  virtual void grouped_input_gradient(const GroupedShape& shape, ProductType type, const T* dy,
                                      const T* weights, T* dx) = 0;
  virtual void grouped_weight_gradient(const GroupedShape& shape, ProductType type, const T* x,
                                       const T* dy, T* dweights) = 0;

  // kernels/fp8_tiles.hpp: y, which may be x, is what the codes of x stand for.
  virtual void quantise(TileShape shape, Tiles tiles, const T* x, T* y) = 0;
  virtual void narrow_to_e5m6(std::int64_t n, const T* x, T* y) = 0;

  // kernels/attention.hpp. The backward takes the output that delta was made of, too: a kernel may
  // rather make it itself.
  virtual void attention_forward(const AttentionShape& shape, double scale, const T* q, const T* k,
                                 const T* v, T* out, T* lse) = 0;
  virtual void attention_backward_delta(const AttentionShape& shape, const T* out, const T* dout,
                                        T* delta) = 0;
  virtual void attention_backward(const AttentionShape& shape, double scale, const T* q, const T* k,
                                  const T* v, const T* out, const T* dout, const T* lse,
                                  const T* delta, T* dq, T* dk, T* dv) = 0;

  // kernels/mla_layout.hpp
  virtual void place_keys_and_values(const MlaLayout& layout, const T* kv_up, T* k, T* v) = 0;
  virtual void broadcast_rope_key(const MlaLayout& layout, const T* k_rope, T* k) = 0;
  virtual void reduce_rope_key_gradient(const MlaLayout& layout, const T* dk, T* dk_rope) = 0;
  virtual void take_key_gradient(const MlaLayout& layout, const T* dk, T* dkv_up) = 0;
  virtual void take_value_gradient(const MlaLayout& layout, const T* dv, T* dkv_up) = 0;

  // kernels/rms_norm.hpp
  virtual void rms_norm_forward(RmsNormShape shape, const T* x, const T* weight, double epsilon,
                                T* y, T* inverse_rms) = 0;
  virtual void rms_norm_backward_input(RmsNormShape shape, const T* x, const T* weight,
                                       const T* inverse_rms, const T* dy, T* dx) = 0;
  virtual void rms_norm_backward_weight(RmsNormShape shape, const T* x, const T* inverse_rms,
                                        const T* dy, T* dweight) = 0;

  // kernels/rope.hpp; `backward` rotates back.
  virtual void rope(const RopeShape& shape, const std::int32_t* positions, double theta,
                    bool backward, T* x) = 0;

  // kernels/swiglu.hpp
  virtual void swiglu_forward(SwigluShape shape, const T* gate_up, const T* row_weight, T* out) = 0;
  virtual void swiglu_backward_input(SwigluShape shape, const T* gate_up, const T* row_weight,
                                     const T* dout, T* dgate_up) = 0;
  virtual void swiglu_row_weight_gradient(SwigluShape shape, const T* gate_up, const T* dout,
                                          T* drow_weight) = 0;

  // kernels/router.hpp
  virtual void router_scores(const RouterShape& shape, const T* logits, T* scores) = 0;
  virtual void router_choose_groups(const RouterShape& shape, const T* scores, const T* bias,
                                    std::int32_t* group_chosen) = 0;
  virtual void router_choose_experts(const RouterShape& shape, const T* scores, const T* bias,
                                     const std::int32_t* group_chosen, std::int32_t* choice) = 0;
  virtual void router_weights(const RouterShape& shape, const T* scores, const std::int32_t* choice,
                              double scale, T* weights) = 0;
  virtual void router_backward(const RouterShape& shape, const T* scores,
                               const std::int32_t* choice, double scale, const T* dweights,
                               const BalanceLoss* balance, double loss_scale, T* dlogits) = 0;

  // kernels/permute.hpp
  virtual void expand_rows(std::int64_t rows, std::int64_t hidden, RowType type,
                           std::int64_t tokens, const std::int32_t* token_of_row, const T* x,
                           T* out) = 0;
  virtual void reduce_rows(const PermuteShape& shape, std::int64_t hidden, std::int64_t rows,
                           const std::int32_t* row_of, const T* y, T* out) = 0;

  // kernels/embedding.hpp
  virtual void embedding_lookup(const EmbeddingShape& shape, const std::int32_t* ids,
                                const T* table, T* out) = 0;
  virtual void embedding_gradient(const EmbeddingShape& shape, const std::int32_t* ids,
                                  const T* dout, T* dtable) = 0;

  // kernels/cross_entropy.hpp. cross_entropy is of a vocabulary that is not divided: writes loss
  // and replaces the logits by their gradient.
  virtual void cross_entropy(const CrossEntropyShape& shape, const std::int32_t* targets, T scale,
                             T* logits, T* loss) = 0;
  virtual void cross_entropy_statistics(const CrossEntropyShape& shape, const T* logits,
                                        const std::int32_t* targets, T* max, T* sum_exp,
                                        T* target_logit) = 0;
  virtual void cross_entropy_gradient(const CrossEntropyShape& shape, const std::int32_t* targets,
                                      const T* max, const T* sum_exp, T scale, T* logits) = 0;

  // kernels/elementwise.hpp: of activations and their gradients. out may be a or b.
  virtual void add(std::int64_t n, const T* a, const T* b, T* out) = 0;

  // kernels/adamw.hpp, with moments as the parameters and in BF16; and the sum of squares of
  // gradients.
  virtual void adamw(std::int64_t n, const AdamwStep& step, const T* gradient, T* parameter,
                     T* first_moment, T* second_moment) = 0;
  virtual void adamw(std::int64_t n, const AdamwStep& step, const T* gradient, T* parameter,
                     Bf16* first_moment, Bf16* second_moment) = 0;
  virtual double squared_sum(std::int64_t n, const T* x) = 0;
};

}  // namespace orrery::kernels
