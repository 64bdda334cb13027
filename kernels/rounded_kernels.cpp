#include "kernels/rounded_kernels.hpp"

#include <algorithm>
#include <vector>

namespace orrery::kernels {
namespace {

using Host = HostKernels<float>;
using Floats = std::vector<float>;

float rounded(float value) {
  return to_float(to_bf16(value));
}

void round(std::int64_t n, float* x) {
  std::transform(x, x + n, x, rounded);
}

Floats bf16(std::int64_t n, const float* x) {
  Floats values(static_cast<std::size_t>(n));
  std::transform(x, x + n, values.begin(), rounded);
  return values;
}

// [rows][columns] as an operand of a product.
Floats operand(ProductType type, TileShape shape, Tiles tiles, const float* x) {
  if (type != ProductType::kFp8) return bf16(shape.rows * shape.columns, x);
  Floats values(static_cast<std::size_t>(shape.rows * shape.columns));
  switch (tiles) {
    case Tiles::kRows: fake_quantise_rows<float>(shape, x, values.data()); break;
    case Tiles::kColumns: fake_quantise_columns<float>(shape, x, values.data()); break;
    case Tiles::kBlocks: fake_quantise_blocks<float>(shape, x, values.data()); break;
  }
  return values;
}

// Weights [groups][n][k], each group's matrix by itself.
Floats grouped_weights(const GroupedShape& shape, ProductType type, const float* weights) {
  Floats all;
  for (std::int64_t group = 0; group < shape.groups; ++group) {
    const Floats own = operand(type, {shape.n, shape.k}, Tiles::kBlocks, weights + all.size());
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

std::int64_t rows_of(const GroupedShape& shape) {
  return shape.offsets[shape.groups];
}

std::int64_t wide(const AttentionShape& s) {
  return s.tokens() * s.heads * s.qk_dim;
}
std::int64_t narrow(const AttentionShape& s) {
  return s.tokens() * s.heads * s.v_dim;
}

std::int64_t keys(const MlaLayout& layout) {
  return layout.tokens * layout.heads * (layout.nope + layout.rope);
}
std::int64_t values(const MlaLayout& layout) {
  return layout.tokens * layout.heads * layout.v_dim;
}

}  // namespace

void RoundedKernels::linear(const LinearShape& s, const float* x, const float* w, float* y) {
  Host::linear(s, operand(s.type, {s.rows, s.inputs}, Tiles::kRows, x).data(),
               operand(s.type, {s.outputs, s.inputs}, Tiles::kBlocks, w).data(), y);
  if (s.type != ProductType::kFloat) round(s.rows * s.outputs, y);
}

void RoundedKernels::linear_input_gradient(const LinearShape& s, const float* dy, const float* w,
                                           float* dx, bool accumulate) {
  if (accumulate) round(s.rows * s.inputs, dx);
  Host::linear_input_gradient(s, operand(s.type, {s.rows, s.outputs}, Tiles::kRows, dy).data(),
                              operand(s.type, {s.outputs, s.inputs}, Tiles::kBlocks, w).data(), dx,
                              accumulate);
  round(s.rows * s.inputs, dx);
}

void RoundedKernels::linear_weight_gradient(const LinearShape& s, const float* dy, const float* x,
                                            float* dw) {
  Host::linear_weight_gradient(s, operand(s.type, {s.rows, s.outputs}, Tiles::kColumns, dy).data(),
                               operand(s.type, {s.rows, s.inputs}, Tiles::kColumns, x).data(), dw);
}

void RoundedKernels::grouped_forward(const GroupedShape& shape, ProductType type, const float* x,
                                     const float* weights, float* y) {
  const std::int64_t rows = rows_of(shape);
  Host::grouped_forward(shape, type, operand(type, {rows, shape.k}, Tiles::kRows, x).data(),
                        grouped_weights(shape, type, weights).data(), y);
  round(rows * shape.n, y);
}

void RoundedKernels::grouped_input_gradient(const GroupedShape& shape, ProductType type,
                                            const float* dy, const float* weights, float* dx) {
  const std::int64_t rows = rows_of(shape);
  Host::grouped_input_gradient(shape, type, operand(type, {rows, shape.n}, Tiles::kRows, dy).data(),
                               grouped_weights(shape, type, weights).data(), dx);
  round(rows * shape.k, dx);
}

void RoundedKernels::grouped_weight_gradient(const GroupedShape& shape, ProductType type,
                                             const float* x, const float* dy, float* dweights) {
  // Tiles of 128 rows from the first expert's on: they pass over the ends of experts.
  const std::int64_t rows = rows_of(shape);
  Host::grouped_weight_gradient(
      shape, type, operand(type, {rows, shape.k}, Tiles::kColumns, x).data(),
      operand(type, {rows, shape.n}, Tiles::kColumns, dy).data(), dweights);
}

void RoundedKernels::quantise(TileShape shape, Tiles tiles, const float* x, float* y) {
  Host::quantise(shape, tiles, bf16(shape.rows * shape.columns, x).data(), y);
}

void RoundedKernels::narrow_to_e5m6(std::int64_t n, const float* x, float* y) {
  Host::narrow_to_e5m6(n, bf16(n, x).data(), y);
}

void RoundedKernels::attention_forward(const AttentionShape& s, double scale, const float* q,
                                       const float* k, const float* v, float* out, float* lse) {
  kernels::attention_forward<float, Bf16>(s, scale, bf16(wide(s), q).data(),
                                          bf16(wide(s), k).data(), bf16(narrow(s), v).data(), out,
                                          lse);
  round(narrow(s), out);
}

void RoundedKernels::attention_backward_delta(const AttentionShape& s, const float* out,
                                              const float* dout, float* delta) {
  Host::attention_backward_delta(s, bf16(narrow(s), out).data(), bf16(narrow(s), dout).data(),
                                 delta);
}

void RoundedKernels::attention_backward(const AttentionShape& s, double scale, const float* q,
                                        const float* k, const float* v, const float*,
                                        const float* dout, const float* lse, const float* delta,
                                        float* dq, float* dk, float* dv) {
  kernels::attention_backward<float, Bf16>(s, scale, bf16(wide(s), q).data(),
                                           bf16(wide(s), k).data(), bf16(narrow(s), v).data(),
                                           bf16(narrow(s), dout).data(), lse, delta, dq, dk, dv);
  round(wide(s), dq);
  round(wide(s), dk);
  round(narrow(s), dv);
}

void RoundedKernels::place_keys_and_values(const MlaLayout& layout, const float* kv_up, float* k,
                                           float* v) {
  const std::int64_t n = layout.tokens * layout.heads * (layout.nope + layout.v_dim);
  Host::place_keys_and_values(layout, bf16(n, kv_up).data(), k, v);
}

void RoundedKernels::broadcast_rope_key(const MlaLayout& layout, const float* k_rope, float* k) {
  Host::broadcast_rope_key(layout, bf16(layout.tokens * layout.rope, k_rope).data(), k);
}

void RoundedKernels::reduce_rope_key_gradient(const MlaLayout& layout, const float* dk,
                                              float* dk_rope) {
  Host::reduce_rope_key_gradient(layout, bf16(keys(layout), dk).data(), dk_rope);
  round(layout.tokens * layout.rope, dk_rope);
}

void RoundedKernels::take_key_gradient(const MlaLayout& layout, const float* dk, float* dkv_up) {
  Host::take_key_gradient(layout, bf16(keys(layout), dk).data(), dkv_up);
}

void RoundedKernels::take_value_gradient(const MlaLayout& layout, const float* dv, float* dkv_up) {
  Host::take_value_gradient(layout, bf16(values(layout), dv).data(), dkv_up);
}

void RoundedKernels::rms_norm_forward(RmsNormShape s, const float* x, const float* weight,
                                      double epsilon, float* y, float* inverse_rms) {
  Host::rms_norm_forward(s, bf16(s.rows * s.columns, x).data(), weight, epsilon, y, inverse_rms);
  round(s.rows * s.columns, y);
}

void RoundedKernels::rms_norm_backward_input(RmsNormShape s, const float* x, const float* weight,
                                             const float* inverse_rms, const float* dy, float* dx) {
  const std::int64_t n = s.rows * s.columns;
  Host::rms_norm_backward_input(s, bf16(n, x).data(), weight, inverse_rms, bf16(n, dy).data(), dx);
  round(n, dx);
}

void RoundedKernels::rms_norm_backward_weight(RmsNormShape s, const float* x,
                                              const float* inverse_rms, const float* dy,
                                              float* dweight) {
  const std::int64_t n = s.rows * s.columns;
  Host::rms_norm_backward_weight(s, bf16(n, x).data(), inverse_rms, bf16(n, dy).data(), dweight);
}

void RoundedKernels::rope(const RopeShape& s, const std::int32_t* positions, double theta,
                          bool backward, float* x) {
  const std::int64_t n = s.rows * s.heads * s.stride;
  round(n, x);
  Host::rope(s, positions, theta, backward, x);
  round(n, x);
}

void RoundedKernels::swiglu_forward(SwigluShape s, const float* gate_up, const float* row_weight,
                                    float* out) {
  Host::swiglu_forward(s, bf16(s.rows * 2 * s.inter, gate_up).data(), row_weight, out);
  round(s.rows * s.inter, out);
}

void RoundedKernels::swiglu_backward_input(SwigluShape s, const float* gate_up,
                                           const float* row_weight, const float* dout,
                                           float* dgate_up) {
  Host::swiglu_backward_input(s, bf16(s.rows * 2 * s.inter, gate_up).data(), row_weight,
                              bf16(s.rows * s.inter, dout).data(), dgate_up);
  round(s.rows * 2 * s.inter, dgate_up);
}

void RoundedKernels::swiglu_row_weight_gradient(SwigluShape s, const float* gate_up,
                                                const float* dout, float* drow_weight) {
  Host::swiglu_row_weight_gradient(s, bf16(s.rows * 2 * s.inter, gate_up).data(),
                                   bf16(s.rows * s.inter, dout).data(), drow_weight);
}

void RoundedKernels::expand_rows(std::int64_t rows, std::int64_t hidden, RowType type,
                                 std::int64_t tokens, const std::int32_t* token_of_row,
                                 const float* x, float* out) {
  const ProductType stored = type == RowType::kFp8 ? ProductType::kFp8 : ProductType::kBf16;
  Host::expand_rows(rows, hidden, type, tokens, token_of_row,
                    operand(stored, {tokens, hidden}, Tiles::kRows, x).data(), out);
}

void RoundedKernels::reduce_rows(const PermuteShape& shape, std::int64_t hidden, std::int64_t rows,
                                 const std::int32_t* row_of, const float* y, float* out) {
  Host::reduce_rows(shape, hidden, rows, row_of, bf16(rows * hidden, y).data(), out);
  round(shape.tokens * hidden, out);
}

void RoundedKernels::embedding_lookup(const EmbeddingShape& shape, const std::int32_t* ids,
                                      const float* table, float* out) {
  Host::embedding_lookup(shape, ids, table, out);
  round(shape.tokens * shape.columns, out);
}

void RoundedKernels::embedding_gradient(const EmbeddingShape& shape, const std::int32_t* ids,
                                        const float* dout, float* dtable) {
  Host::embedding_gradient(shape, ids, bf16(shape.tokens * shape.columns, dout).data(), dtable);
}

void RoundedKernels::cross_entropy(const CrossEntropyShape& shape, const std::int32_t* targets,
                                   float scale, float* logits, float* loss) {
  round(shape.tokens * shape.vocab, logits);
  Host::cross_entropy(shape, targets, scale, logits, loss);
  round(shape.tokens * shape.vocab, logits);
}

void RoundedKernels::cross_entropy_statistics(const CrossEntropyShape& shape, const float* logits,
                                              const std::int32_t* targets, float* max,
                                              float* sum_exp, float* target_logit) {
  Host::cross_entropy_statistics(shape, bf16(shape.tokens * shape.vocab, logits).data(), targets,
                                 max, sum_exp, target_logit);
}

void RoundedKernels::cross_entropy_gradient(const CrossEntropyShape& shape,
                                            const std::int32_t* targets, const float* max,
                                            const float* sum_exp, float scale, float* logits) {
  round(shape.tokens * shape.vocab, logits);
  Host::cross_entropy_gradient(shape, targets, max, sum_exp, scale, logits);
  round(shape.tokens * shape.vocab, logits);
}

void RoundedKernels::add(std::int64_t n, const float* a, const float* b, float* out) {
  for (std::int64_t at = 0; at < n; ++at) out[at] = rounded(rounded(a[at]) + rounded(b[at]));
}

}  // namespace orrery::kernels
