// Embedding, MTP projection and output head on the host (workload/edge_ops.cpp).
#include "kernels/cross_entropy.hpp"
#include "realrun/host_math.hpp"
#include "realrun/host_tables.hpp"

namespace orrery::host {
namespace {

template <class T>
bool divided(const RankState<T>& rank) {
  return rank.plan.layout.tp > 1;
}

template <class T>
kernels::EmbeddingShape table_shape(const RankState<T>& rank) {
  const Sizes& s = rank.sizes;
  return {s.tokens, s.first_id, s.vocab, s.hidden};
}

// ---------------------------------------------------------------------------------------------------------------------
// Embedding

template <class T>
void lookup(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.embedding_lookup(table_shape(rank), rank.tokens(frame.microbatch).inputs.data(),
                                rank.weight(frame, Param::kEmbedding).value,
                                frame.out.make(frame.passing, s.tokens * s.hidden));
}

// Where the embedding's gradient waits for its weight gradient: all tokens of the micro-batch.
template <class T>
void keep_embedding_gradient(RankState<T>& rank, Frame<T>& frame) {
  if (!frame.embedding_gradient.made())
    rank.take_output_gradient(frame, frame.embedding_gradient, frame.operands);
}

template <class T>
void table_gradient(RankState<T>& rank, Frame<T>& frame) {
  keep_embedding_gradient(rank, frame);
  rank.kernels.embedding_gradient(table_shape(rank), rank.tokens(frame.microbatch).inputs.data(),
                                  frame.embedding_gradient.get(),
                                  rank.gradient(frame, Param::kEmbedding));
}

// ---------------------------------------------------------------------------------------------------------------------
// Multi-token prediction (DeepSeek-V3 report, section 2.2): the hidden state of a token and the
// embedding of the next one, both normed, projected to the module's input.

template <class T>
void mtp_lookup(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  take_input(rank, frame, frame.mtp_hidden, frame.until_input);
  rank.kernels.embedding_lookup(table_shape(rank), rank.tokens(frame.microbatch).targets.data(),
                                rank.weight(frame, Param::kEmbedding).value,
                                frame.mtp_embedding.make(frame.until_input, s.tokens * s.hidden));
}

// Both norms side by side, [l, 2h]: the hidden state first.
template <class T>
void join_normed(RankState<T>& rank, Frame<T>& frame, Lifetime& lifetime) {
  const Sizes& s = rank.sizes;
  T* joined = frame.mtp_joined.make(lifetime, s.local * 2 * s.hidden);
  const auto half = [&](Param param, Tensor<T>& x, std::int64_t first) {
    Tensor<T> normed("normed half of the MTP input"), rms("inverse RMS");
    norm(rank, frame, param, s.local, s.hidden, x.get(), normed, frame.transient, rms);
    for (std::int64_t row = 0; row < s.local; ++row) {
      std::copy_n(normed.get() + row * s.hidden, s.hidden,
                  joined + row * 2 * s.hidden + first * s.hidden);
    }
  };
  half(Param::kHiddenNorm, frame.mtp_hidden, 0);
  half(Param::kEmbeddingNorm, frame.mtp_embedding, 1);
}

template <class T>
void mtp_join(RankState<T>& rank, Frame<T>& frame) {
  join_normed(rank, frame, frame.passing);
}

template <class T>
void mtp_project(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear({s.local, s.hidden, 2 * s.hidden, layer_product(rank)},
                      frame.mtp_joined.get(), rank.weight(frame, Param::kProjection).quantised,
                      frame.x.make(frame.until_input, s.local * s.hidden));
  frame.mtp_joined.drop();
}

template <class T>
void mtp_project_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  frame.mtp_output_gradient.take(frame.operands, frame.in_gradient);
  join_normed(rank, frame, frame.operands);
  Tensor<T> operand("MTP projection output gradient");
  operand.copy(frame.transient, frame.mtp_output_gradient);
  if (rank.fp8()) quantise_rows(rank, operand, s.hidden);
  rank.kernels.linear_input_gradient(
      {s.local, s.hidden, 2 * s.hidden, layer_product(rank)}, operand.get(),
      rank.weight(frame, Param::kProjection).quantised,
      frame.normed_gradient.make(frame.transient, s.local * 2 * s.hidden), false);
}

// One half of the joined gradient back through its norm.
template <class T>
void half_backward(RankState<T>& rank, Frame<T>& frame, Param param, Tensor<T>& x,
                   std::int64_t first, T* dx) {
  const Sizes& s = rank.sizes;
  std::vector<T> dy(static_cast<std::size_t>(s.local * s.hidden));
  for (std::int64_t row = 0; row < s.local; ++row) {
    std::copy_n(frame.normed_gradient.get() + row * 2 * s.hidden + first * s.hidden, s.hidden,
                dy.data() + row * s.hidden);
  }
  Tensor<T> normed("normed half of the MTP input"), rms("inverse RMS");
  norm(rank, frame, param, s.local, s.hidden, x.get(), normed, frame.transient, rms);
  norm_backward(rank, frame, param, s.local, s.hidden, x.get(), rms, dy.data(), dx);
}

// The main model's gradient passes the module and the module's own joins it.
template <class T>
void mtp_hidden_backward(RankState<T>& rank, Frame<T>& frame) {
  const std::int64_t elements = rank.sizes.local * rank.sizes.hidden;
  half_backward(rank, frame, Param::kHiddenNorm, frame.mtp_hidden, 0,
                frame.in_gradient.make(frame.passing, elements));
  accumulate(rank, elements, frame.mtp_pass_gradient.get(), frame.in_gradient.get());
  frame.mtp_pass_gradient.drop();
}

template <class T>
void mtp_embedding_backward(RankState<T>& rank, Frame<T>& frame) {
  const std::int64_t elements = rank.sizes.local * rank.sizes.hidden;
  T* gradient =
      frame.embedding_gradient.make(divided(rank) ? frame.passing : frame.operands, elements);
  half_backward(rank, frame, Param::kEmbeddingNorm, frame.mtp_embedding, 1, gradient);
  frame.transient.drop_all();
}

template <class T>
void mtp_project_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient({s.local, s.hidden, 2 * s.hidden, layer_product(rank)},
                                      frame.mtp_output_gradient.get(), frame.mtp_joined.get(),
                                      rank.gradient(frame, Param::kProjection));
}

template <class T>
void mtp_table_gradient(RankState<T>& rank, Frame<T>& frame) {
  rank.kernels.embedding_gradient(table_shape(rank), rank.tokens(frame.microbatch).targets.data(),
                                  frame.embedding_gradient.get(),
                                  rank.gradient(frame, Param::kEmbedding));
}

// ---------------------------------------------------------------------------------------------------------------------
// Output head

template <class T>
void final_norm(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (frame.kind == LayerKind::kMtp) {
    finish_forward(rank, frame);
    frame.head_input.take(frame.until_input, frame.out);
    frame.out.copy(frame.passing, frame.mtp_hidden);
  } else {
    take_input(rank, frame, frame.head_input, frame.until_input);
  }
  norm(rank, frame, Param::kFinalNorm, s.local, s.hidden, frame.head_input.get(), frame.head_normed,
       divided(rank) ? frame.passing : frame.until_weight, frame.head_rms);
}

template <class T>
void logits(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear({s.tokens, s.vocab, s.hidden, kernels::ProductType::kBf16},
                      frame.head_normed.get(), rank.weight(frame, Param::kHead).value,
                      frame.vocabulary.make(frame.until_weight, s.tokens * s.vocab));
}

template <class T>
const std::int32_t* targets(RankState<T>& rank, const Frame<T>& frame) {
  const MicrobatchTokens& own = rank.tokens(frame.microbatch);
  return (frame.kind == LayerKind::kMtp ? own.mtp_targets : own.targets).data();
}

template <class T>
kernels::CrossEntropyShape loss_shape(const RankState<T>& rank) {
  return {rank.sizes.tokens, rank.sizes.first_id, rank.sizes.vocab};
}

template <class T>
void statistics(RankState<T>& rank, Frame<T>& frame) {
  const std::int64_t tokens = rank.sizes.tokens;
  T* part = frame.statistics.make(frame.passing, 3 * tokens);
  rank.kernels.cross_entropy_statistics(loss_shape(rank), frame.vocabulary.get(),
                                        targets(rank, frame), part, part + tokens,
                                        part + 2 * tokens);
}

// Every tensor-parallel GPU has the whole loss: it counts on the first.
template <class T>
void count_loss(RankState<T>& rank, Frame<T>& frame, const std::vector<T>& losses) {
  double sum = 0;
  for (T loss : losses) sum += static_cast<double>(loss);
  frame.loss = rank.place.tensor == 0 ? sum : 0;
}

template <class T>
T loss_scale(const RankState<T>& rank, const Frame<T>& frame) {
  return static_cast<T>(rank.loss_scale *
                        (frame.kind == LayerKind::kMtp ? rank.recipe.mtp_weight : 1));
}

// From the statistics of all parts of the vocabulary, one after another.
template <class T>
void loss_gradient(RankState<T>& rank, Frame<T>& frame) {
  const std::int64_t tokens = rank.sizes.tokens;
  T* all = frame.statistics.get();
  const std::int64_t parts = frame.statistics.size() / (3 * tokens);
  for (std::int64_t part = 1; part < parts; ++part) {
    const T* other = all + part * 3 * tokens;
    kernels::cross_entropy_combine<T>(tokens, other, other + tokens, other + 2 * tokens, all,
                                      all + tokens, all + 2 * tokens);
  }
  std::vector<T> losses(static_cast<std::size_t>(tokens));
  kernels::cross_entropy_loss<T>(tokens, targets(rank, frame), all, all + tokens, all + 2 * tokens,
                                 losses.data());
  count_loss(rank, frame, losses);
  rank.kernels.cross_entropy_gradient(loss_shape(rank), targets(rank, frame), all, all + tokens,
                                      loss_scale(rank, frame), frame.vocabulary.get());
  frame.statistics.drop();
}

template <class T>
void loss(RankState<T>& rank, Frame<T>& frame) {
  std::vector<T> losses(static_cast<std::size_t>(rank.sizes.tokens));
  rank.kernels.cross_entropy(loss_shape(rank), targets(rank, frame), loss_scale(rank, frame),
                             frame.vocabulary.get(), losses.data());
  count_loss(rank, frame, losses);
}

template <class T>
void head_dgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  if (frame.kind == LayerKind::kMtp) {
    // The gradient of the main model comes first and waits for the module's own.
    rank.take_output_gradient(frame, frame.mtp_pass_gradient, frame.passing);
  }
  rank.kernels.linear_input_gradient({s.tokens, s.vocab, s.hidden, kernels::ProductType::kBf16},
                                     frame.vocabulary.get(), rank.weight(frame, Param::kHead).value,
                                     frame.head_gradient.make(frame.passing, s.tokens * s.hidden),
                                     false);
}

template <class T>
void final_norm_backward(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  Tensor<T> normed("normed head input");
  norm(rank, frame, Param::kFinalNorm, s.local, s.hidden, frame.head_input.get(), normed,
       frame.transient, frame.head_rms);
  Tensor<T>& gradient =
      frame.kind == LayerKind::kMtp ? frame.head_input_gradient : frame.in_gradient;
  norm_backward(rank, frame, Param::kFinalNorm, s.local, s.hidden, frame.head_input.get(),
                frame.head_rms, frame.head_gradient.get(),
                gradient.make(frame.passing, s.local * s.hidden));
  frame.head_gradient.drop();
}

template <class T>
void head_wgrad(RankState<T>& rank, Frame<T>& frame) {
  const Sizes& s = rank.sizes;
  rank.kernels.linear_weight_gradient({s.tokens, s.vocab, s.hidden, kernels::ProductType::kBf16},
                                      frame.vocabulary.get(), frame.head_normed.get(),
                                      rank.gradient(frame, Param::kHead));
}

template <class T>
constexpr NamedOp<T> kEmbeddingForward[] = {{"embedding lookup", lookup<T>}};
template <class T>
constexpr NamedOp<T> kEmbeddingWeights[] = {{"embedding gradient", table_gradient<T>}};

template <class T>
constexpr NamedOp<T> kMtpForward[] = {{"embedding lookup", mtp_lookup<T>},
                                      {"MTP hidden norm", nullptr},     // with the join
                                      {"MTP embedding norm", nullptr},  // likewise
                                      {"concatenate", mtp_join<T>},
                                      {"cast for MTP projection",
                                       [](RankState<T>& rank, Frame<T>& frame) {
                                         quantise_rows(rank, frame.mtp_joined,
                                                       2 * rank.sizes.hidden);
                                       }},
                                      {"MTP projection fprop", mtp_project<T>}};
template <class T>
constexpr NamedOp<T> kMtpInputGradient[] = {
    {"cast dY", nullptr},  // in the input gradient, where the operand is made
    {"MTP projection dgrad", mtp_project_dgrad<T>},
    {"cast and transpose X",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.mtp_joined, 2 * rank.sizes.hidden);
     }},
    {"cast and transpose dY",
     [](RankState<T>& rank, Frame<T>& frame) {
       quantise_columns(rank, frame.mtp_output_gradient, rank.sizes.hidden);
     }},
    {"MTP hidden norm backward", mtp_hidden_backward<T>},
    {"MTP embedding norm backward", mtp_embedding_backward<T>},
    {"norm weight gradient", nullptr}};  // part of the norms' backward
template <class T>
constexpr NamedOp<T> kMtpWeights[] = {{"MTP projection wgrad", mtp_project_wgrad<T>},
                                      {"embedding gradient", mtp_table_gradient<T>}};

template <class T>
constexpr NamedOp<T> kHeadForward[] = {{"final norm", final_norm<T>},
                                       {"output head fprop", logits<T>},
                                       {"cross-entropy", loss<T>},
                                       {"cross-entropy statistics", statistics<T>},
                                       {"cross-entropy gradient", loss_gradient<T>}};
template <class T>
constexpr NamedOp<T> kHeadInputGradient[] = {
    {"output head dgrad", head_dgrad<T>},
    {"final norm backward", final_norm_backward<T>},
    {"norm weight gradient", nullptr}};  // part of the norm's backward
template <class T>
constexpr NamedOp<T> kHeadWeights[] = {{"output head wgrad", head_wgrad<T>}};

}  // namespace

template <class T>
OpTable<T> edge_ops(Component component, Pass pass) {
  const bool forward = pass == Pass::kF;
  const bool weights = pass == Pass::kW;
  switch (component) {
    case Component::kEmbedding:
      if (forward) return kEmbeddingForward<T>;
      return weights ? OpTable<T>(kEmbeddingWeights<T>) : OpTable<T>();
    case Component::kMtpProjection:
      if (forward) return kMtpForward<T>;
      return weights ? OpTable<T>(kMtpWeights<T>) : OpTable<T>(kMtpInputGradient<T>);
    case Component::kHead:
      if (forward) return kHeadForward<T>;
      return weights ? OpTable<T>(kHeadWeights<T>) : OpTable<T>(kHeadInputGradient<T>);
    default: return {};
  }
}

template <class T>
HostCollective<T> edge_collective(LayerKind kind, std::string_view tensor) {
  using Rank = RankState<T>;
  using Elements = std::vector<T>;
  if (tensor == "embedding") {
    if (kind == LayerKind::kEmbedding) {
      return {
          [](Rank&, Frame<T>& frame, Elements& own) { give(frame.out, own); },
          [](Rank&, Frame<T>& frame, const Elements& sum) { set(frame.out, frame.passing, sum); }};
    }
    return {[](Rank&, Frame<T>& frame, Elements& own) { give(frame.mtp_embedding, own); },
            [](Rank&, Frame<T>& frame, const Elements& sum) {
              set(frame.mtp_embedding, frame.until_input, sum);
            }};
  }
  if (tensor == "embedding gradient") {
    if (kind == LayerKind::kEmbedding) {
      return {[](Rank& rank, Frame<T>& frame, Elements& own) {
                keep_embedding_gradient(rank, frame);
                give(frame.embedding_gradient, own);
              },
              [](Rank&, Frame<T>& frame, const Elements& all) {
                set(frame.embedding_gradient, frame.operands, all);
              }};
    }
    return {[](Rank&, Frame<T>& frame, Elements& own) { give(frame.embedding_gradient, own); },
            [](Rank&, Frame<T>& frame, const Elements& all) {
              set(frame.embedding_gradient, frame.operands, all);
            }};
  }
  if (tensor == "normed head input") {
    return {[](Rank&, Frame<T>& frame, Elements& own) { give(frame.head_normed, own); },
            [](Rank&, Frame<T>& frame, const Elements& all) {
              set(frame.head_normed, frame.until_weight, all);
            }};
  }
  if (tensor == "logit statistics") {
    return {[](Rank&, Frame<T>& frame, Elements& own) { give(frame.statistics, own); },
            [](Rank&, Frame<T>& frame, const Elements& all) {
              set(frame.statistics, frame.passing, all);
            }};
  }
  if (tensor == "normed head input gradient") {
    return {[](Rank&, Frame<T>& frame, Elements& own) { give(frame.head_gradient, own); },
            [](Rank&, Frame<T>& frame, const Elements& sum) {
              set(frame.head_gradient, frame.passing, sum);
            }};
  }
  return {};
}

template OpTable<float> edge_ops<float>(Component, Pass);
template OpTable<double> edge_ops<double>(Component, Pass);
template HostCollective<float> edge_collective<float>(LayerKind, std::string_view);
template HostCollective<double> edge_collective<double>(LayerKind, std::string_view);

}  // namespace orrery::host
