// Multi-head latent attention on the host (workload/mla_ops.cpp).
#include <cmath>

#include "core/error.hpp"
#include "kernels/attention.hpp"
#include "kernels/elementwise.hpp"
#include "kernels/fp8_tiles.hpp"
#include "kernels/mla_layout.hpp"
#include "kernels/rope.hpp"
#include "realrun/host_math.hpp"
#include "realrun/host_tables.hpp"

namespace orrery::host {
namespace {

template <class T>
bool divided(const RankState<T>& rank) {
  return rank.plan.layout.tp > 1;
}

// The latents of all tokens: gathered where tensor parallelism divides them.
template <class T>
Tensor<T>& query_latent(RankState<T>& rank, Frame<T>& frame) {
  return divided(rank) ? frame.query_latent_all : frame.query_latent;
}
template <class T>
Tensor<T>& key_latent(RankState<T>& rank, Frame<T>& frame) {
  return divided(rank) ? frame.key_latent_all : frame.key_latent;
}

template <class T>
kernels::MlaLayout mla_layout(const Sizes& s) {
  return {s.tokens, s.heads, s.nope, s.rope, s.v};
}
template <class T>
kernels::AttentionShape attention_shape(const Sizes& s) {
  return {s.sequences, s.length, s.heads, s.qk, s.v};
}
double score_scale(const Sizes& s) {
  return 1 / std::sqrt(static_cast<double>(s.qk));
}

// The first columns of [rows, from] as [rows, columns], from column `first`.
template <class T>
void columns_of(std::int64_t rows, std::int64_t from, std::int64_t first, std::int64_t columns,
                const T* source, T* target) {
  for (std::int64_t row = 0; row < rows; ++row)
    std::copy_n(source + row * from + first, columns, target + row * columns);
}

// ---------------------------------------------------------------------------------------------------------------------
// Forward

template <class T>
void pre_norm(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (!frame.x.made()) take_input(rank, frame, frame.x, frame.until_input);
  norm(rank, frame, Param::kAttentionNorm, s.local, s.hidden, frame.x.get(), frame.normed,
       rank.kept_without_recompute(frame), frame.normed_rms);
}

template <class T>
void query_down(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear(s.local, s.q_rank, s.hidden, frame.normed.get(),
         rank.weight(frame, Param::kQueryDown).quantised,
         frame.query_latent.make(rank.kept(frame), s.local * s.q_rank));
}

template <class T>
void query_projection(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  Tensor<T>& input = divided(rank) ? frame.normed_all : frame.normed;
  linear(s.tokens, s.heads * s.qk, s.hidden, input.get(),
         rank.weight(frame, Param::kQueryProjection).quantised,
         frame.q.make(rank.kept(frame), s.tokens * s.heads * s.qk));
}

template <class T>
void key_down(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  const std::int64_t width = s.kv_rank + s.rope;
  linear(s.local, width, s.hidden, frame.normed.get(),
         rank.weight(frame, Param::kKeyDown).quantised,
         frame.key_latent.make(rank.kept(frame), s.local * width));
}

// The normed query latent of `rows` tokens.
template <class T>
void norm_query(RankState<T>& rank, Frame<T>& frame, std::int64_t rows, Tensor<T>& latent) {
  norm(rank, frame, Param::kQueryNorm, rows, rank.sizes.q_rank, latent.get(), frame.query_normed,
       frame.transient, frame.query_rms);
}
template <class T>
void norm_key(RankState<T>& rank, Frame<T>& frame, std::int64_t rows, Tensor<T>& latent) {
  const Sizes& s = rank.sizes;
  const std::int64_t width = s.kv_rank + s.rope;
  std::vector<T> key(static_cast<std::size_t>(rows * s.kv_rank));
  columns_of(rows, width, 0, s.kv_rank, latent.get(), key.data());
  norm(rank, frame, Param::kKeyNorm, rows, s.kv_rank, key.data(), frame.key_normed, frame.transient,
       frame.key_rms);
  columns_of(rows, width, s.kv_rank, s.rope, latent.get(),
             frame.rope_key.make(frame.transient, rows * s.rope));
}

template <class T>
void query_norm(RankState<T>& rank, Frame<T>& frame) {
  norm_query(rank, frame, rank.sizes.local, frame.query_latent);
}
template <class T>
void key_norm(RankState<T>& rank, Frame<T>& frame) {
  norm_key(rank, frame, rank.sizes.local, frame.key_latent);
}
template <class T>
void query_norm_again(RankState<T>& rank, Frame<T>& frame) {
  norm_query(rank, frame, rank.sizes.tokens, query_latent(rank, frame));
}
template <class T>
void key_norm_again(RankState<T>& rank, Frame<T>& frame) {
  norm_key(rank, frame, rank.sizes.tokens, key_latent(rank, frame));
}

template <class T>
void query_up(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear(s.tokens, s.heads * s.qk, s.q_rank, frame.query_normed.get(),
         rank.weight(frame, Param::kQueryUp).quantised,
         frame.q.make(rank.kept_without_recompute(frame), s.tokens * s.heads * s.qk));
}

template <class T>
void key_up(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  const std::int64_t width = s.heads * (s.nope + s.v);
  linear(s.tokens, width, s.kv_rank, frame.key_normed.get(),
         rank.weight(frame, Param::kKeyUp).quantised,
         frame.up.make(frame.transient, s.tokens * width));
}

template <class T>
void rope_key(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  kernels::rope_forward<T>({s.tokens, 1, s.rope, 0, s.rope}, rank.positions.data(),
                           rank.recipe.rope_theta, frame.rope_key.get());
}

template <class T>
void place_keys(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  Lifetime& kept = rank.kept_without_recompute(frame);
  T* k = frame.k.make(kept, s.tokens * s.heads * s.qk);
  T* v = frame.v.make(kept, s.tokens * s.heads * s.v);
  kernels::place_keys_and_values<T>(mla_layout<T>(s), frame.up.get(), k, v);
  frame.up.drop();
}

template <class T>
void broadcast_key(RankState<T>& rank, Frame<T>& frame) {
  kernels::broadcast_rope_key<T>(mla_layout<T>(rank.sizes), frame.rope_key.get(), frame.k.get());
}

// A full query projection is stored turned, so it is turned once only.
template <class T>
void rope_query(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (s.q_rank == 0 && frame.backward && rank.plan.layout.recompute == Recompute::kSelective)
    return;
  kernels::rope_forward<T>({s.tokens, s.heads, s.qk, s.nope, s.rope}, rank.positions.data(),
                           rank.recipe.rope_theta, frame.q.get());
}

// FP8 training stores the output apart from the copy that the projection reads: in E5M6 where the
// up-projections are recomputed (DeepSeek-V3 report, section 3.3.3).
template <class T>
void attend(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  T* out = frame.attended.make(rank.fp8() ? frame.transient : rank.kept(frame),
                               s.tokens * s.heads * s.v);
  T* lse = frame.lse.make(rank.kept(frame), s.tokens * s.heads);
  kernels::attention_forward<T>(attention_shape<T>(s), score_scale(s), frame.q.get(), frame.k.get(),
                                frame.v.get(), out, lse);
}

template <class T>
void store_narrow(RankState<T>& rank, Frame<T>& frame) {
  const std::int64_t elements = frame.attended.size();
  kernels::fake_quantise_e5m6<T>(elements, frame.attended.get(),
                                 frame.attended_kept.make(rank.kept(frame), elements));
}

template <class T>
void cast_attended(RankState<T>& rank, Frame<T>& frame) {
  if (!frame.attended_kept.made()) frame.attended_kept.copy(rank.kept(frame), frame.attended);
  quantise_rows(frame.attended, rank.sizes.heads * rank.sizes.v);
}

template <class T>
void output_projection(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear(s.tokens, s.hidden, s.heads * s.v, frame.attended.get(),
         rank.weight(frame, Param::kOutput).quantised,
         frame.projected.make(frame.transient, s.tokens * s.hidden));
}

template <class T>
void add_residual(RankState<T>& rank, Frame<T>& frame) {
  const std::int64_t elements = rank.sizes.local * rank.sizes.hidden;
  Tensor<T> sum("residual between attention and MLP");
  kernels::add<T>(elements, frame.x.get(), frame.projected.get(),
                  sum.make(frame.passing, elements));
  frame.projected.drop();
  // What was made again is what the backward needs.
  if (!rank.keeps_in_backward(frame)) frame.transient.drop_all();
  frame.middle.take(rank.kept(frame), sum);
}

// ---------------------------------------------------------------------------------------------------------------------
// Input gradient

// The gradient that reaches the block's output; its operand is kept for the weight gradient.
template <class T>
void output_gradient(RankState<T>& rank, Frame<T>& frame) {
  if (!divided(rank)) frame.projected_gradient.copy(frame.transient, frame.middle_gradient);
}

template <class T>
void output_projection_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (!frame.projected_operand.made())
    frame.projected_operand.copy(frame.operands, frame.projected_gradient);
  linear_input_gradient(s.tokens, s.hidden, s.heads * s.v, frame.projected_gradient.get(),
                        rank.weight(frame, Param::kOutput).quantised,
                        frame.attended_gradient.make(frame.transient, s.tokens * s.heads * s.v));
  frame.projected_gradient.drop();
}

// The latents' norms, where nothing was made again: the stored raw latents give the operands.
template <class T>
void ensure_normed_latents(RankState<T>& rank, Frame<T>& frame) {
  if (rank.sizes.q_rank > 0 && !frame.query_normed.made()) query_norm_again(rank, frame);
  if (!frame.key_normed.made()) key_norm_again(rank, frame);
}

template <class T>
void attend_backward_delta(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  Tensor<T>& out = rank.fp8() ? frame.attended_kept : frame.attended;
  kernels::attention_backward_delta<T>(attention_shape<T>(s), out.get(),
                                       frame.attended_gradient.get(),
                                       frame.delta.make(frame.transient, s.tokens * s.heads));
  // The output is an operand of the projection's weight gradient from here on.
  if (!frame.attended_operand.made()) frame.attended_operand.take(frame.operands, out);
}

template <class T>
void attend_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  ensure_normed_latents(rank, frame);
  const std::int64_t keys = s.tokens * s.heads * s.qk;
  kernels::attention_backward<T>(
      attention_shape<T>(s), score_scale(s), frame.q.get(), frame.k.get(), frame.v.get(),
      frame.attended_gradient.get(), frame.lse.get(), frame.delta.get(),
      frame.q_gradient.make(frame.transient, keys), frame.k_gradient.make(frame.transient, keys),
      frame.v_gradient.make(frame.transient, s.tokens * s.heads * s.v));
  for (Tensor<T>* used : {&frame.q, &frame.k, &frame.v, &frame.attended_gradient, &frame.delta})
    used->drop();
}

template <class T>
void rope_query_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  kernels::rope_backward<T>({s.tokens, s.heads, s.qk, s.nope, s.rope}, rank.positions.data(),
                            rank.recipe.rope_theta, frame.q_gradient.get());
  frame.q_operand.copy(frame.operands, frame.q_gradient);
}

template <class T>
void query_up_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear_input_gradient(s.tokens, s.heads * s.qk, s.q_rank, frame.q_gradient.get(),
                        rank.weight(frame, Param::kQueryUp).quantised,
                        frame.query_normed_gradient.make(frame.transient, s.tokens * s.q_rank));
  frame.q_gradient.drop();
  frame.query_normed_operand.take(frame.operands, frame.query_normed);
}

template <class T>
void reduce_key(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  kernels::reduce_rope_key_gradient<T>(
      mla_layout<T>(s), frame.k_gradient.get(),
      frame.rope_key_gradient.make(frame.transient, s.tokens * s.rope));
}

template <class T>
void rope_key_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  kernels::rope_backward<T>({s.tokens, 1, s.rope, 0, s.rope}, rank.positions.data(),
                            rank.recipe.rope_theta, frame.rope_key_gradient.get());
}

template <class T>
void take_keys(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  kernels::take_key_gradient<T>(
      mla_layout<T>(s), frame.k_gradient.get(),
      frame.up_gradient.make(frame.transient, s.tokens * s.heads * (s.nope + s.v)));
  frame.k_gradient.drop();
}

template <class T>
void take_values(RankState<T>& rank, Frame<T>& frame) {
  kernels::take_value_gradient<T>(mla_layout<T>(rank.sizes), frame.v_gradient.get(),
                                  frame.up_gradient.get());
  frame.v_gradient.drop();
  frame.up_operand.copy(frame.operands, frame.up_gradient);
}

template <class T>
void key_up_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear_input_gradient(s.tokens, s.heads * (s.nope + s.v), s.kv_rank, frame.up_gradient.get(),
                        rank.weight(frame, Param::kKeyUp).quantised,
                        frame.key_normed_gradient.make(frame.transient, s.tokens * s.kv_rank));
  frame.up_gradient.drop();
  frame.key_normed_operand.take(frame.operands, frame.key_normed);
}

// Local again: the norms' inverse RMS of this GPU's tokens.
template <class T>
void key_norm_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  const std::int64_t width = s.kv_rank + s.rope;
  std::vector<T> key(static_cast<std::size_t>(s.local * s.kv_rank));
  std::vector<T> key_gradient(key.size());
  columns_of(s.local, width, 0, s.kv_rank, frame.key_latent.get(), key.data());
  if (divided(rank)) {
    Tensor<T> unused("normed key and value latent");
    norm(rank, frame, Param::kKeyNorm, s.local, s.kv_rank, key.data(), unused, frame.transient,
         frame.key_rms);
  }
  norm_backward(rank, frame, Param::kKeyNorm, s.local, s.kv_rank, key.data(), frame.key_rms,
                frame.key_normed_gradient.get(), key_gradient.data());
  T* gradient = frame.key_latent_gradient.make(frame.transient, s.local * width);
  const T* rope = frame.rope_key_gradient.get();
  for (std::int64_t row = 0; row < s.local; ++row) {
    std::copy_n(key_gradient.data() + row * s.kv_rank, s.kv_rank, gradient + row * width);
    std::copy_n(rope + row * s.rope, s.rope, gradient + row * width + s.kv_rank);
  }
  frame.key_latent_operand.copy(frame.operands, frame.key_latent_gradient);
}

template <class T>
void query_norm_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (divided(rank)) {
    Tensor<T> unused("normed query latent");
    norm(rank, frame, Param::kQueryNorm, s.local, s.q_rank, frame.query_latent.get(), unused,
         frame.transient, frame.query_rms);
  }
  norm_backward(rank, frame, Param::kQueryNorm, s.local, s.q_rank, frame.query_latent.get(),
                frame.query_rms, frame.query_normed_gradient.get(),
                frame.query_latent_gradient.make(frame.transient, s.local * s.q_rank));
  frame.query_latent_operand.copy(frame.operands, frame.query_latent_gradient);
}

template <class T>
void ensure_normed(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (frame.normed.made() && frame.normed_rms.made()) return;
  norm(rank, frame, Param::kAttentionNorm, s.local, s.hidden, frame.x.get(), frame.normed,
       frame.transient, frame.normed_rms);
}

template <class T>
void key_down_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  ensure_normed(rank, frame);
  if (!frame.normed_operand.made()) frame.normed_operand.copy(frame.operands, frame.normed);
  const bool first = !frame.normed_gradient.made();
  if (first) frame.normed_gradient.make(frame.transient, s.local * s.hidden);
  linear_input_gradient(s.local, s.kv_rank + s.rope, s.hidden, frame.key_latent_gradient.get(),
                        rank.weight(frame, Param::kKeyDown).quantised, frame.normed_gradient.get(),
                        !first);
  frame.key_latent_gradient.drop();
}

template <class T>
void query_down_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear_input_gradient(s.local, s.q_rank, s.hidden, frame.query_latent_gradient.get(),
                        rank.weight(frame, Param::kQueryDown).quantised,
                        frame.normed_gradient.get(), true);
  frame.query_latent_gradient.drop();
}

// Without a low-rank query: from the turned-back query gradient to the normed input of all tokens.
template <class T>
void query_projection_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (!divided(rank)) {
    linear_input_gradient(s.tokens, s.heads * s.qk, s.hidden, frame.q_gradient.get(),
                          rank.weight(frame, Param::kQueryProjection).quantised,
                          frame.normed_gradient.get(), true);
  } else {
    linear_input_gradient(s.tokens, s.heads * s.qk, s.hidden, frame.q_gradient.get(),
                          rank.weight(frame, Param::kQueryProjection).quantised,
                          frame.mlp_input_gradient.make(frame.transient, s.tokens * s.hidden));
  }
  frame.q_gradient.drop();
}

template <class T>
void pre_norm_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  const std::int64_t elements = s.local * s.hidden;
  T* gradient = frame.in_gradient.make(frame.passing, elements);
  norm_backward(rank, frame, Param::kAttentionNorm, s.local, s.hidden, frame.x.get(),
                frame.normed_rms, frame.normed_gradient.get(), gradient);
  kernels::accumulate<T>(elements, frame.middle_gradient.get(), gradient);
  frame.transient.drop_all();
}

// ---------------------------------------------------------------------------------------------------------------------
// FP8: operands rounded to what their cast stores

template <class T>
void cast_output_gradient(RankState<T>& rank, Frame<T>& frame) {
  if (!frame.projected_operand.made())
    frame.projected_operand.copy(frame.operands, frame.projected_gradient);
  quantise_rows(frame.projected_gradient, rank.sizes.hidden);
}

template <class T>
void cast_attended_operand(RankState<T>& rank, Frame<T>& frame) {
  frame.attended_operand.copy(frame.operands, frame.attended_kept);
  quantise_columns(frame.attended_operand, rank.sizes.heads * rank.sizes.v);
}

// ---------------------------------------------------------------------------------------------------------------------
// Weight gradients

template <class T>
void output_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear_weight_gradient(s.tokens, s.hidden, s.heads * s.v, frame.projected_operand.get(),
                         frame.attended_operand.get(), rank.gradient(frame, Param::kOutput));
}
template <class T>
void key_up_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear_weight_gradient(s.tokens, s.heads * (s.nope + s.v), s.kv_rank, frame.up_operand.get(),
                         frame.key_normed_operand.get(), rank.gradient(frame, Param::kKeyUp));
}
template <class T>
void query_up_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear_weight_gradient(s.tokens, s.heads * s.qk, s.q_rank, frame.q_operand.get(),
                         frame.query_normed_operand.get(), rank.gradient(frame, Param::kQueryUp));
}
template <class T>
void key_down_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear_weight_gradient(s.local, s.kv_rank + s.rope, s.hidden, frame.key_latent_operand.get(),
                         frame.normed_operand.get(), rank.gradient(frame, Param::kKeyDown));
}
template <class T>
void query_down_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  linear_weight_gradient(s.local, s.q_rank, s.hidden, frame.query_latent_operand.get(),
                         frame.normed_operand.get(), rank.gradient(frame, Param::kQueryDown));
}
template <class T>
void query_projection_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  Tensor<T>& input = divided(rank) ? frame.normed_all_operand : frame.normed_operand;
  linear_weight_gradient(s.tokens, s.heads * s.qk, s.hidden, frame.q_operand.get(), input.get(),
                         rank.gradient(frame, Param::kQueryProjection));
}

// ---------------------------------------------------------------------------------------------------------------------
// Collectives of tensor parallelism

// Rows of several arrays side by side, [rows, sum of widths], and apart again.
template <class T>
void join(std::int64_t rows, std::initializer_list<std::pair<const T*, std::int64_t>> parts,
          std::vector<T>& out) {
  std::int64_t width = 0;
  for (const auto& [values, columns] : parts) width += columns;
  out.resize(static_cast<std::size_t>(rows * width));
  for (std::int64_t row = 0; row < rows; ++row) {
    T* at = out.data() + row * width;
    for (const auto& [values, columns] : parts)
      at = std::copy_n(values + row * columns, columns, at);
  }
}
template <class T>
void split(std::int64_t rows, std::initializer_list<std::pair<T*, std::int64_t>> parts,
           const std::vector<T>& joined) {
  const T* at = joined.data();
  for (std::int64_t row = 0; row < rows; ++row) {
    for (const auto& [values, columns] : parts) {
      std::copy_n(at, columns, values + row * columns);
      at += columns;
    }
  }
}

// Forward: normed latents and the raw rope key.
template <class T>
void gather_latents_begin(RankState<T>& rank, Frame<T>& frame, std::vector<T>& own) {
  const Sizes& s = rank.sizes;
  if (s.q_rank > 0) {
    join<T>(s.local,
            {{frame.query_normed.get(), s.q_rank},
             {frame.key_normed.get(), s.kv_rank},
             {frame.rope_key.get(), s.rope}},
            own);
  } else {
    join<T>(s.local, {{frame.key_normed.get(), s.kv_rank}, {frame.rope_key.get(), s.rope}}, own);
  }
}
template <class T>
void gather_latents_end(RankState<T>& rank, Frame<T>& frame, const std::vector<T>& all) {
  const Sizes& s = rank.sizes;
  T* key = frame.key_normed.make(frame.transient, s.tokens * s.kv_rank);
  T* rope = frame.rope_key.make(frame.transient, s.tokens * s.rope);
  if (s.q_rank > 0) {
    T* query = frame.query_normed.make(frame.transient, s.tokens * s.q_rank);
    split<T>(s.tokens, {{query, s.q_rank}, {key, s.kv_rank}, {rope, s.rope}}, all);
  } else {
    split<T>(s.tokens, {{key, s.kv_rank}, {rope, s.rope}}, all);
  }
}

// Backward: the stored raw latents.
template <class T>
void gather_raw_latents_begin(RankState<T>& rank, Frame<T>& frame, std::vector<T>& own) {
  const Sizes& s = rank.sizes;
  const std::int64_t width = s.kv_rank + s.rope;
  if (s.q_rank > 0) {
    join<T>(s.local, {{frame.query_latent.get(), s.q_rank}, {frame.key_latent.get(), width}}, own);
  } else {
    join<T>(s.local, {{frame.key_latent.get(), width}}, own);
  }
}
template <class T>
void gather_raw_latents_end(RankState<T>& rank, Frame<T>& frame, const std::vector<T>& all) {
  const Sizes& s = rank.sizes;
  const std::int64_t width = s.kv_rank + s.rope;
  T* key = frame.key_latent_all.make(frame.transient, s.tokens * width);
  if (s.q_rank > 0) {
    T* query = frame.query_latent_all.make(frame.transient, s.tokens * s.q_rank);
    split<T>(s.tokens, {{query, s.q_rank}, {key, width}}, all);
  } else {
    split<T>(s.tokens, {{key, width}}, all);
  }
}

template <class T>
void reduce_latents_begin(RankState<T>& rank, Frame<T>& frame, std::vector<T>& own) {
  const Sizes& s = rank.sizes;
  if (s.q_rank > 0) {
    join<T>(s.tokens,
            {{frame.query_normed_gradient.get(), s.q_rank},
             {frame.key_normed_gradient.get(), s.kv_rank},
             {frame.rope_key_gradient.get(), s.rope}},
            own);
  } else {
    join<T>(s.tokens,
            {{frame.key_normed_gradient.get(), s.kv_rank}, {frame.rope_key_gradient.get(), s.rope}},
            own);
  }
}
template <class T>
void reduce_latents_end(RankState<T>& rank, Frame<T>& frame, const std::vector<T>& sum) {
  const Sizes& s = rank.sizes;
  T* key = frame.key_normed_gradient.make(frame.transient, s.local * s.kv_rank);
  T* rope = frame.rope_key_gradient.make(frame.transient, s.local * s.rope);
  if (s.q_rank > 0) {
    T* query = frame.query_normed_gradient.make(frame.transient, s.local * s.q_rank);
    split<T>(s.local, {{query, s.q_rank}, {key, s.kv_rank}, {rope, s.rope}}, sum);
  } else {
    split<T>(s.local, {{key, s.kv_rank}, {rope, s.rope}}, sum);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// By name

template <class T>
constexpr NamedOp<T> kForward[] = {
    {"pre-attention norm", pre_norm<T>},
    {"cast for q_down",
     [](RankState<T>& rank, Frame<T>& frame) { quantise_rows(frame.normed, rank.sizes.hidden); }},
    {"q_down fprop", query_down<T>},
    {"q_proj fprop", query_projection<T>},
    {"cast for kv_down", nullptr},  // the same input as q_down's
    {"kv_down fprop", key_down<T>},
    {"position indices", nullptr},
    {"q_lora norm", query_norm<T>},
    {"slice kv_lora", nullptr},
    {"kv_lora norm", key_norm<T>},
    {"slice k_rope", nullptr},
    {"cast q_lora", [](RankState<T>& rank,
                       Frame<T>& frame) { quantise_rows(frame.query_normed, rank.sizes.q_rank); }},
    {"q_up fprop", query_up<T>},
    {"cast kv_lora", [](RankState<T>& rank,
                        Frame<T>& frame) { quantise_rows(frame.key_normed, rank.sizes.kv_rank); }},
    {"kv_up fprop", key_up<T>},
    {"rotary k_rope", rope_key<T>},
    {"assemble k and v", place_keys<T>},
    {"broadcast k_rope to heads", broadcast_key<T>},
    {"rotary q_rope", rope_query<T>},
    {"attention forward", attend<T>},
    {"cast attention output to E5M6", store_narrow<T>},
    {"cast for o_proj", cast_attended<T>},
    {"o_proj fprop", output_projection<T>},
    {"scale", add_residual<T>}};

template <class T>
constexpr NamedOp<T> kInputGradient[] = {
    {"scale", output_gradient<T>},
    {"cast attention output back from E5M6", nullptr},  // stored as values
    {"cast dY", cast_output_gradient<T>},
    {"o_proj dgrad", output_projection_dgrad<T>},
    {"cast and transpose attention output", cast_attended_operand<T>},
    {"cast and transpose dY",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.projected_operand, rank.sizes.hidden);
     }},
    {"q_lora norm recompute", query_norm_again<T>},
    {"slice kv_lora", nullptr},
    {"kv_lora norm recompute", key_norm_again<T>},
    {"cast q_lora", [](RankState<T>& rank,
                       Frame<T>& frame) { quantise_rows(frame.query_normed, rank.sizes.q_rank); }},
    {"q_up recompute", query_up<T>},
    {"cast kv_lora", [](RankState<T>& rank,
                        Frame<T>& frame) { quantise_rows(frame.key_normed, rank.sizes.kv_rank); }},
    {"kv_up recompute", key_up<T>},
    {"rotary k_rope", rope_key<T>},
    {"assemble k and v", place_keys<T>},
    {"broadcast k_rope to heads", broadcast_key<T>},
    {"rotary q_rope", rope_query<T>},
    {"attention backward preprocess", attend_backward_delta<T>},
    {"attention backward", attend_backward<T>},
    {"attention backward postprocess dQ", nullptr},  // accumulated in the type it is used in
    {"rotary backward q", rope_query_backward<T>},
    {"cast dq",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(frame.q_gradient, rank.sizes.heads * rank.sizes.qk);
     }},
    {"q_up dgrad", query_up_dgrad<T>},
    {"reduce k_rope gradient over heads", reduce_key<T>},
    {"rotary backward k", rope_key_backward<T>},
    {"copy dk", take_keys<T>},
    {"copy dv", take_values<T>},
    {"cast dkv",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(frame.up_gradient, rank.sizes.heads * (rank.sizes.nope + rank.sizes.v));
     }},
    {"kv_up dgrad", key_up_dgrad<T>},
    {"cast and transpose dkv",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.up_operand, rank.sizes.heads * (rank.sizes.nope + rank.sizes.v));
     }},
    {"cast and transpose kv_lora",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.key_normed_operand, rank.sizes.kv_rank);
     }},
    {"cast and transpose dq",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.q_operand, rank.sizes.heads * rank.sizes.qk);
     }},
    {"cast and transpose q_lora",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.query_normed_operand, rank.sizes.q_rank);
     }},
    {"kv_lora norm backward", key_norm_backward<T>},
    {"norm weight gradient", nullptr},      // part of the norm's backward
    {"accumulate norm gradient", nullptr},  // likewise
    {"q_lora norm backward", query_norm_backward<T>},
    {"assemble kv_down output gradient", nullptr},  // part of the latent norm's backward
    {"pre-attention norm recompute", ensure_normed<T>},
    {"cast d(kv_down output)",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(frame.key_latent_gradient, rank.sizes.kv_rank + rank.sizes.rope);
     }},
    {"kv_down dgrad", key_down_dgrad<T>},
    {"cast and transpose X",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.normed_operand, rank.sizes.hidden);
     }},
    {"cast and transpose d(kv_down output)",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.key_latent_operand, rank.sizes.kv_rank + rank.sizes.rope);
     }},
    {"cast d(q_down output)",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(frame.query_latent_gradient, rank.sizes.q_rank);
     }},
    {"q_down dgrad", query_down_dgrad<T>},
    {"cast and transpose d(q_down output)",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(frame.query_latent_operand, rank.sizes.q_rank);
     }},
    {"q_proj dgrad", query_projection_dgrad<T>},
    {"add projection gradients", nullptr},  // the second projection adds to the first
    {"pre-attention norm backward", pre_norm_backward<T>}};

template <class T>
constexpr NamedOp<T> kWeightGradient[] = {
    {"o_proj wgrad", output_wgrad<T>},     {"kv_up wgrad", key_up_wgrad<T>},
    {"q_up wgrad", query_up_wgrad<T>},     {"kv_down wgrad", key_down_wgrad<T>},
    {"q_down wgrad", query_down_wgrad<T>}, {"q_proj wgrad", query_projection_wgrad<T>}};

}  // namespace

template <class T>
OpTable<T> attention_ops(Pass pass) {
  switch (pass) {
    case Pass::kF: return kForward<T>;
    case Pass::kI: return kInputGradient<T>;
    case Pass::kW: return kWeightGradient<T>;
  }
  return {};
}

template <class T>
HostCollective<T> attention_collective(Pass pass, std::string_view tensor) {
  if (tensor == "latents" && pass == Pass::kF)
    return {gather_latents_begin<T>, gather_latents_end<T>};
  if (tensor == "latents") return {gather_raw_latents_begin<T>, gather_raw_latents_end<T>};
  if (tensor == "latent gradients") return {reduce_latents_begin<T>, reduce_latents_end<T>};
  if (tensor == "attention output") {
    return {[](RankState<T>&, Frame<T>& frame, std::vector<T>& own) { give(frame.projected, own); },
            [](RankState<T>&, Frame<T>& frame, const std::vector<T>& sum) {
              set(frame.projected, frame.transient, sum);
            }};
  }
  if (tensor == "attention output gradient") {
    return {[](RankState<T>&, Frame<T>& frame, std::vector<T>& own) {
              give(frame.middle_gradient, own);
            },
            [](RankState<T>&, Frame<T>& frame, const std::vector<T>& all) {
              set(frame.projected_gradient, frame.transient, all);
            }};
  }
  if (tensor == "normed input" && pass == Pass::kF) {
    return {[](RankState<T>&, Frame<T>& frame, std::vector<T>& own) { give(frame.normed, own); },
            [](RankState<T>&, Frame<T>& frame, const std::vector<T>& all) {
              set(frame.normed_all, frame.transient, all);
            }};
  }
  if (tensor == "normed input") {
    return {[](RankState<T>& rank, Frame<T>& frame, std::vector<T>& own) {
              ensure_normed(rank, frame);
              give(frame.normed, own);
            },
            [](RankState<T>&, Frame<T>& frame, const std::vector<T>& all) {
              set(frame.normed_all_operand, frame.operands, all);
            }};
  }
  if (tensor == "normed input gradient") {
    return {[](RankState<T>&, Frame<T>& frame, std::vector<T>& own) {
              give(frame.mlp_input_gradient, own);
            },
            [](RankState<T>&, Frame<T>& frame, const std::vector<T>& sum) {
              kernels::accumulate<T>(static_cast<std::int64_t>(sum.size()), sum.data(),
                                     frame.normed_gradient.get());
              frame.mlp_input_gradient.drop();
            }};
  }
  return {};
}

template OpTable<float> attention_ops<float>(Pass);
template OpTable<double> attention_ops<double>(Pass);
template HostCollective<float> attention_collective<float>(Pass, std::string_view);
template HostCollective<double> attention_collective<double>(Pass, std::string_view);

}  // namespace orrery::host
