#pragma once
// Private to the ops of realrun: the forward of multi-head latent attention on the host, op by op
// (workload/mla_ops.cpp).
#include <algorithm>
#include <cmath>

#include "realrun/host_math.hpp"
#include "realrun/host_tables.hpp"

namespace orrery::host::attention {

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
inline double score_scale(const Sizes& s) {
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
  rank.kernels.linear({s.local, s.q_rank, s.hidden, layer_product(rank)}, frame.normed.get(),
                      rank.weight(frame, Param::kQueryDown).quantised,
                      frame.query_latent.make(rank.kept(frame), s.local * s.q_rank));
}

template <class T>
void query_projection(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  Tensor<T>& input = divided(rank) ? frame.normed_all : frame.normed;
  rank.kernels.linear({s.tokens, s.heads * s.qk, s.hidden, layer_product(rank)}, input.get(),
                      rank.weight(frame, Param::kQueryProjection).quantised,
                      frame.q.make(rank.kept(frame), s.tokens * s.heads * s.qk));
}

template <class T>
void key_down(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  const std::int64_t width = s.kv_rank + s.rope;
  rank.kernels.linear({s.local, width, s.hidden, layer_product(rank)}, frame.normed.get(),
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
  rank.kernels.linear({s.tokens, s.heads * s.qk, s.q_rank, layer_product(rank)},
                      frame.query_normed.get(), rank.weight(frame, Param::kQueryUp).quantised,
                      frame.q.make(rank.kept_without_recompute(frame), s.tokens * s.heads * s.qk));
}

template <class T>
void key_up(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  const std::int64_t width = s.heads * (s.nope + s.v);
  rank.kernels.linear({s.tokens, width, s.kv_rank, layer_product(rank)}, frame.key_normed.get(),
                      rank.weight(frame, Param::kKeyUp).quantised,
                      frame.up.make(frame.transient, s.tokens * width));
}

template <class T>
void rope_key(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.rope({s.tokens, 1, s.rope, 0, s.rope}, rank.positions.data(), rank.recipe.rope_theta,
                    false, frame.rope_key.get());
}

template <class T>
void place_keys(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  Lifetime& kept = rank.kept_without_recompute(frame);
  T* k = frame.k.make(kept, s.tokens * s.heads * s.qk);
  T* v = frame.v.make(kept, s.tokens * s.heads * s.v);
  rank.kernels.place_keys_and_values(mla_layout<T>(s), frame.up.get(), k, v);
  frame.up.drop();
}

template <class T>
void broadcast_key(RankState<T>& rank, Frame<T>& frame) {
  rank.kernels.broadcast_rope_key(mla_layout<T>(rank.sizes), frame.rope_key.get(), frame.k.get());
}

// A full query projection is stored turned, so it is turned once only.
template <class T>
void rope_query(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (s.q_rank == 0 && frame.backward && rank.plan.layout.recompute == Recompute::kSelective)
    return;
  rank.kernels.rope({s.tokens, s.heads, s.qk, s.nope, s.rope}, rank.positions.data(),
                    rank.recipe.rope_theta, false, frame.q.get());
}

// FP8 training stores the output apart from the copy that the projection reads: in E5M6 where the
// up-projections are recomputed (DeepSeek-V3 report, section 3.3.3).
template <class T>
void attend(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  T* out = frame.attended.make(rank.fp8() ? frame.transient : rank.kept(frame),
                               s.tokens * s.heads * s.v);
  T* lse = frame.lse.make(rank.kept(frame), s.tokens * s.heads);
  rank.kernels.attention_forward(attention_shape<T>(s), score_scale(s), frame.q.get(),
                                 frame.k.get(), frame.v.get(), out, lse);
}

template <class T>
void store_narrow(RankState<T>& rank, Frame<T>& frame) {
  const std::int64_t elements = frame.attended.size();
  rank.kernels.narrow_to_e5m6(elements, frame.attended.get(),
                              frame.attended_kept.make(rank.kept(frame), elements));
}

template <class T>
void cast_attended(RankState<T>& rank, Frame<T>& frame) {
  if (!frame.attended_kept.made()) frame.attended_kept.copy(rank.kept(frame), frame.attended);
  quantise_rows(rank, frame.attended, rank.sizes.heads * rank.sizes.v);
}

template <class T>
void output_projection(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear({s.tokens, s.hidden, s.heads * s.v, layer_product(rank)},
                      frame.attended.get(), rank.weight(frame, Param::kOutput).quantised,
                      frame.projected.make(frame.transient, s.tokens * s.hidden));
}

template <class T>
void add_residual(RankState<T>& rank, Frame<T>& frame) {
  const std::int64_t elements = rank.sizes.local * rank.sizes.hidden;
  Tensor<T> sum("residual between attention and MLP");
  rank.kernels.add(elements, frame.x.get(), frame.projected.get(),
                   sum.make(frame.passing, elements));
  frame.projected.drop();
  // What was made again is what the backward needs.
  if (!rank.keeps_in_backward(frame)) frame.transient.drop_all();
  frame.middle.take(rank.kept(frame), sum);
}

}  // namespace orrery::host::attention
