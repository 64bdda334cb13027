// Multi-head latent attention on the host (workload/mla_ops.cpp): the collectives inside of it, and
// its ops by name.
#include "core/error.hpp"
#include "realrun/host_attention_backward.hpp"

namespace orrery::host {
namespace {

using namespace attention;

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
constexpr NamedOp<T> kForward[] = {{"pre-attention norm", pre_norm<T>},
                                   {"cast for q_down",
                                    [](RankState<T>& rank, Frame<T>& frame) {
                                      quantise_rows(rank, frame.normed, rank.sizes.hidden);
                                    }},
                                   {"q_down fprop", query_down<T>},
                                   {"q_proj fprop", query_projection<T>},
                                   {"cast for kv_down", nullptr},  // the same input as q_down's
                                   {"kv_down fprop", key_down<T>},
                                   {"position indices", nullptr},
                                   {"q_lora norm", query_norm<T>},
                                   {"slice kv_lora", nullptr},
                                   {"kv_lora norm", key_norm<T>},
                                   {"slice k_rope", nullptr},
                                   {"cast q_lora",
                                    [](RankState<T>& rank, Frame<T>& frame) {
                                      quantise_rows(rank, frame.query_normed, rank.sizes.q_rank);
                                    }},
                                   {"q_up fprop", query_up<T>},
                                   {"cast kv_lora",
                                    [](RankState<T>& rank, Frame<T>& frame) {
                                      quantise_rows(rank, frame.key_normed, rank.sizes.kv_rank);
                                    }},
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
       quantise_columns(rank, frame.projected_operand, rank.sizes.hidden);
     }},
    {"q_lora norm recompute", query_norm_again<T>},
    {"slice kv_lora", nullptr},
    {"kv_lora norm recompute", key_norm_again<T>},
    {"cast q_lora",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(rank, frame.query_normed, rank.sizes.q_rank);
     }},
    {"q_up recompute", query_up<T>},
    {"cast kv_lora",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(rank, frame.key_normed, rank.sizes.kv_rank);
     }},
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
       quantise_rows(rank, frame.q_gradient, rank.sizes.heads * rank.sizes.qk);
     }},
    {"q_up dgrad", query_up_dgrad<T>},
    {"reduce k_rope gradient over heads", reduce_key<T>},
    {"rotary backward k", rope_key_backward<T>},
    {"copy dk", take_keys<T>},
    {"copy dv", take_values<T>},
    {"cast dkv",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(rank, frame.up_gradient, rank.sizes.heads * (rank.sizes.nope + rank.sizes.v));
     }},
    {"kv_up dgrad", key_up_dgrad<T>},
    {"cast and transpose dkv",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.up_operand,
                        rank.sizes.heads * (rank.sizes.nope + rank.sizes.v));
     }},
    {"cast and transpose kv_lora",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.key_normed_operand, rank.sizes.kv_rank);
     }},
    {"cast and transpose dq",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.q_operand, rank.sizes.heads * rank.sizes.qk);
     }},
    {"cast and transpose q_lora",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.query_normed_operand, rank.sizes.q_rank);
     }},
    {"kv_lora norm backward", key_norm_backward<T>},
    {"norm weight gradient", nullptr},      // part of the norm's backward
    {"accumulate norm gradient", nullptr},  // likewise
    {"q_lora norm backward", query_norm_backward<T>},
    {"assemble kv_down output gradient", nullptr},  // part of the latent norm's backward
    {"pre-attention norm recompute", ensure_normed<T>},
    {"cast d(kv_down output)",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_rows(rank, frame.key_latent_gradient, rank.sizes.kv_rank + rank.sizes.rope);
     }},
    {"kv_down dgrad", key_down_dgrad<T>},
    {"cast and transpose X",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.normed_operand, rank.sizes.hidden);
     }},
    {"cast and transpose d(kv_down output)",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.key_latent_operand, rank.sizes.kv_rank + rank.sizes.rope);
     }},
    {"cast d(q_down output)",
     [](RankState<T>& rank,
        Frame<T>& frame) { quantise_rows(rank, frame.query_latent_gradient, rank.sizes.q_rank); }},
    {"q_down dgrad", query_down_dgrad<T>},
    {"cast and transpose d(q_down output)",
     [](RankState<T>& rank,
        Frame<T>&
            frame) { quantise_columns(rank, frame.query_latent_operand, rank.sizes.q_rank); }},
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
            [](RankState<T>& rank, Frame<T>& frame, const std::vector<T>& sum) {
              accumulate(rank, static_cast<std::int64_t>(sum.size()), sum.data(),
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
