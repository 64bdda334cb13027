#pragma once
// Private to the ops of realrun: the gradients of multi-head latent attention on the host, op by
// op: of the inputs, the FP8 operands that they keep, then of the weights.
#include "realrun/host_attention_forward.hpp"

namespace orrery::host::attention {

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
  rank.kernels.linear_input_gradient(
      {s.tokens, s.hidden, s.heads * s.v, layer_product(rank)}, frame.projected_gradient.get(),
      rank.weight(frame, Param::kOutput).quantised,
      frame.attended_gradient.make(frame.transient, s.tokens * s.heads * s.v), false);
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
  rank.kernels.attention_backward_delta(attention_shape<T>(s), out.get(),
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
  // The output that delta was made of.
  Tensor<T>& out = rank.fp8() ? frame.attended_kept : frame.attended_operand;
  rank.kernels.attention_backward(
      attention_shape<T>(s), score_scale(s), frame.q.get(), frame.k.get(), frame.v.get(), out.get(),
      frame.attended_gradient.get(), frame.lse.get(), frame.delta.get(),
      frame.q_gradient.make(frame.transient, keys), frame.k_gradient.make(frame.transient, keys),
      frame.v_gradient.make(frame.transient, s.tokens * s.heads * s.v));
  for (Tensor<T>* used : {&frame.q, &frame.k, &frame.v, &frame.attended_gradient, &frame.delta})
    used->drop();
}

template <class T>
void rope_query_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.rope({s.tokens, s.heads, s.qk, s.nope, s.rope}, rank.positions.data(),
                    rank.recipe.rope_theta, true, frame.q_gradient.get());
  frame.q_operand.copy(frame.operands, frame.q_gradient);
}

template <class T>
void query_up_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_input_gradient(
      {s.tokens, s.heads * s.qk, s.q_rank, layer_product(rank)}, frame.q_gradient.get(),
      rank.weight(frame, Param::kQueryUp).quantised,
      frame.query_normed_gradient.make(frame.transient, s.tokens * s.q_rank), false);
  frame.q_gradient.drop();
  frame.query_normed_operand.take(frame.operands, frame.query_normed);
}

template <class T>
void reduce_key(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.reduce_rope_key_gradient(
      mla_layout<T>(s), frame.k_gradient.get(),
      frame.rope_key_gradient.make(frame.transient, s.tokens * s.rope));
}

template <class T>
void rope_key_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.rope({s.tokens, 1, s.rope, 0, s.rope}, rank.positions.data(), rank.recipe.rope_theta,
                    true, frame.rope_key_gradient.get());
}

template <class T>
void take_keys(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.take_key_gradient(
      mla_layout<T>(s), frame.k_gradient.get(),
      frame.up_gradient.make(frame.transient, s.tokens * s.heads * (s.nope + s.v)));
  frame.k_gradient.drop();
}

template <class T>
void take_values(RankState<T>& rank, Frame<T>& frame) {
  rank.kernels.take_value_gradient(mla_layout<T>(rank.sizes), frame.v_gradient.get(),
                                   frame.up_gradient.get());
  frame.v_gradient.drop();
  frame.up_operand.copy(frame.operands, frame.up_gradient);
}

template <class T>
void key_up_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_input_gradient(
      {s.tokens, s.heads * (s.nope + s.v), s.kv_rank, layer_product(rank)}, frame.up_gradient.get(),
      rank.weight(frame, Param::kKeyUp).quantised,
      frame.key_normed_gradient.make(frame.transient, s.tokens * s.kv_rank), false);
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
  rank.kernels.linear_input_gradient(
      {s.local, s.kv_rank + s.rope, s.hidden, layer_product(rank)}, frame.key_latent_gradient.get(),
      rank.weight(frame, Param::kKeyDown).quantised, frame.normed_gradient.get(), !first);
  frame.key_latent_gradient.drop();
}

template <class T>
void query_down_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_input_gradient(
      {s.local, s.q_rank, s.hidden, layer_product(rank)}, frame.query_latent_gradient.get(),
      rank.weight(frame, Param::kQueryDown).quantised, frame.normed_gradient.get(), true);
  frame.query_latent_gradient.drop();
}

// Without a low-rank query: from the turned-back query gradient to the normed input of all tokens.
template <class T>
void query_projection_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (!divided(rank)) {
    rank.kernels.linear_input_gradient(
        {s.tokens, s.heads * s.qk, s.hidden, layer_product(rank)}, frame.q_gradient.get(),
        rank.weight(frame, Param::kQueryProjection).quantised, frame.normed_gradient.get(), true);
  } else {
    rank.kernels.linear_input_gradient(
        {s.tokens, s.heads * s.qk, s.hidden, layer_product(rank)}, frame.q_gradient.get(),
        rank.weight(frame, Param::kQueryProjection).quantised,
        frame.mlp_input_gradient.make(frame.transient, s.tokens * s.hidden), false);
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
  accumulate(rank, elements, frame.middle_gradient.get(), gradient);
  frame.transient.drop_all();
}

// ---------------------------------------------------------------------------------------------------------------------
// FP8: operands rounded to what their cast stores

template <class T>
void cast_output_gradient(RankState<T>& rank, Frame<T>& frame) {
  if (!frame.projected_operand.made())
    frame.projected_operand.copy(frame.operands, frame.projected_gradient);
  quantise_rows(rank, frame.projected_gradient, rank.sizes.hidden);
}

template <class T>
void cast_attended_operand(RankState<T>& rank, Frame<T>& frame) {
  frame.attended_operand.copy(frame.operands, frame.attended_kept);
  quantise_columns(rank, frame.attended_operand, rank.sizes.heads * rank.sizes.v);
}

// ---------------------------------------------------------------------------------------------------------------------
// Weight gradients

template <class T>
void output_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient({s.tokens, s.hidden, s.heads * s.v, layer_product(rank)},
                                      frame.projected_operand.get(), frame.attended_operand.get(),
                                      rank.gradient(frame, Param::kOutput));
}
template <class T>
void key_up_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient(
      {s.tokens, s.heads * (s.nope + s.v), s.kv_rank, layer_product(rank)}, frame.up_operand.get(),
      frame.key_normed_operand.get(), rank.gradient(frame, Param::kKeyUp));
}
template <class T>
void query_up_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient({s.tokens, s.heads * s.qk, s.q_rank, layer_product(rank)},
                                      frame.q_operand.get(), frame.query_normed_operand.get(),
                                      rank.gradient(frame, Param::kQueryUp));
}
template <class T>
void key_down_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient({s.local, s.kv_rank + s.rope, s.hidden, layer_product(rank)},
                                      frame.key_latent_operand.get(), frame.normed_operand.get(),
                                      rank.gradient(frame, Param::kKeyDown));
}
template <class T>
void query_down_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient({s.local, s.q_rank, s.hidden, layer_product(rank)},
                                      frame.query_latent_operand.get(), frame.normed_operand.get(),
                                      rank.gradient(frame, Param::kQueryDown));
}
template <class T>
void query_projection_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  Tensor<T>& input = divided(rank) ? frame.normed_all_operand : frame.normed_operand;
  rank.kernels.linear_weight_gradient({s.tokens, s.heads * s.qk, s.hidden, layer_product(rank)},
                                      frame.q_operand.get(), input.get(),
                                      rank.gradient(frame, Param::kQueryProjection));
}

}  // namespace orrery::host::attention
