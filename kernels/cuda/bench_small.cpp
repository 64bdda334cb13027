// The kernels that a set needs beside the large ones (kernels/cuda/cuda_kernels.hpp).
#include "kernels/cuda/bench_case.cuh"
#include "kernels/cuda/end_kernels.hpp"
#include "kernels/cuda/router.hpp"
#include "kernels/cuda/small_kernels.hpp"
#include "kernels/cuda/token_router.hpp"

namespace orrery::cuda {
namespace {

// A launch that is made with its operands.
Case streaming(const char* kernel, const std::string& shape, std::int64_t bytes,
               std::function<Launch()> make) {
  Case made{kernel, shape, "copy", 0, static_cast<double>(bytes)};
  made.make = [make = std::move(make)](cudaStream_t) { return make(); };
  return made;
}

std::shared_ptr<Device<std::int32_t>> ids(std::int64_t count, std::int64_t step,
                                          std::int64_t below) {
  std::vector<std::int32_t> values(size(count));
  for (std::int64_t at = 0; at < count; ++at)
    values[size(at)] = static_cast<std::int32_t>(at * step % below);
  return std::make_shared<Device<std::int32_t>>(values);
}

// Between projection and attention: halves of heads are copied, or added over the heads.
std::vector<Case> head_cases(const Layer& l) {
  const kernels::MlaLayout layout{l.tokens, l.heads, 128, 64, 128};
  const std::int64_t heads = l.tokens * l.heads;
  const std::string shape = sizes({l.tokens, l.heads, 128, 64, 128});
  return {streaming("keys and values", shape, 4 * heads * 256,
                    [=] {
                      auto up = bf16(heads * 256), k = room<Bf16>(heads * 192),
                           v = room<Bf16>(heads * 128);
                      return [=](cudaStream_t on) {
                        place_keys_and_values(layout, up->get(), k->get(), v->get(), on);
                      };
                    }),
          streaming("RoPE key to heads", shape, 2 * (l.tokens + heads) * 64,
                    [=] {
                      auto rope = bf16(l.tokens * 64), k = room<Bf16>(heads * 192);
                      return [=](cudaStream_t on) {
                        broadcast_rope_key(layout, rope->get(), k->get(), on);
                      };
                    }),
          streaming("RoPE key gradient", shape, 2 * (l.tokens + heads) * 64,
                    [=] {
                      auto dk = bf16(heads * 192), rope = room<Bf16>(l.tokens * 64);
                      return [=](cudaStream_t on) {
                        reduce_rope_key_gradient(layout, dk->get(), rope->get(), on);
                      };
                    }),
          streaming("key gradient", shape, 4 * heads * 128,
                    [=] {
                      auto dk = bf16(heads * 192), up = room<Bf16>(heads * 256);
                      return [=](cudaStream_t on) {
                        take_key_gradient(layout, dk->get(), up->get(), on);
                      };
                    }),
          streaming("value gradient", shape, 4 * heads * 128, [=] {
            auto dv = bf16(heads * 128), up = room<Bf16>(heads * 256);
            return [=](cudaStream_t on) { take_value_gradient(layout, dv->get(), up->get(), on); };
          })};
}

std::vector<Case> elementwise_cases(const Layer& l) {
  const std::int64_t n = l.tokens * l.hidden, rows = l.experts * l.rows;
  const kernels::SwigluShape swiglu{rows, l.inter};
  return {streaming("add", sizes({l.tokens, l.hidden}), 6 * n,
                    [=] {
                      auto a = bf16(n), b = bf16(n), out = room<Bf16>(n);
                      return [=](cudaStream_t on) { add(n, a->get(), b->get(), out->get(), on); };
                    }),
          streaming("cast to E5M6", sizes({l.tokens, l.hidden}), 4 * n,
                    [=] {
                      auto x = bf16(n), y = room<Bf16>(n);
                      return [=](cudaStream_t on) { narrow_to_e5m6(n, x->get(), y->get(), on); };
                    }),
          streaming("SwiGLU row weight gradient", sizes({rows, l.inter}), 6 * rows * l.inter, [=] {
            auto x = bf16(rows * 2 * l.inter), dout = bf16(rows * l.inter);
            auto drow = room<float>(rows);
            return [=](cudaStream_t on) {
              swiglu_row_weight_gradient(swiglu, x->get(), dout->get(), drow->get(), on);
            };
          })};
}

// The router's steps one by one, and the update of its bias.
std::vector<Case> router_cases(const Layer& l) {
  const kernels::RouterShape s{l.tokens, l.all_experts, l.groups, l.groups_per_token, l.top_k};
  const std::int64_t all = s.tokens * s.experts, chosen = s.tokens * s.top_k,
                     grouped = s.tokens * s.groups;
  const std::string shape = sizes({s.tokens, s.experts});
  return {
      streaming("router scores", shape, 8 * all,
                [=] {
                  auto x = floats(all), y = room<float>(all);
                  return [=](cudaStream_t on) { router_scores(s, x->get(), y->get(), on); };
                }),
      streaming("router groups", shape, 4 * (all + grouped),
                [=] {
                  auto x = floats(all), bias = floats(s.experts);
                  auto y = room<std::int32_t>(grouped);
                  return [=](cudaStream_t on) {
                    router_choose_groups(s, x->get(), bias->get(), y->get(), on);
                  };
                }),
      streaming("router experts", shape, 4 * (all + grouped + chosen),
                [=] {
                  auto x = floats(all), bias = floats(s.experts);
                  auto groups = ids(grouped, 1, 2), y = room<std::int32_t>(chosen);
                  return [=](cudaStream_t on) {
                    router_choose_experts(s, x->get(), bias->get(), groups->get(), y->get(), on);
                  };
                }),
      streaming("router weights", shape, 12 * chosen,
                [=] {
                  auto x = floats(all), y = room<float>(chosen);
                  auto choice = ids(chosen, 1, s.experts);
                  return [=](cudaStream_t on) {
                    router_weights(s, x->get(), choice->get(), 2.5f, y->get(), on);
                  };
                }),
      streaming("router backward", shape, 4 * (2 * all + 2 * chosen),
                [=] {
                  auto x = floats(all), dw = floats(chosen), y = room<float>(all);
                  auto choice = ids(chosen, 1, s.experts);
                  return [=](cudaStream_t on) {
                    router_backward(s, x->get(), choice->get(), 2.5f, dw->get(), nullptr, y->get(),
                                    on);
                  };
                }),
      streaming("router bias update", sizes({s.experts}), 16 * s.experts, [=] {
        auto counts = room<unsigned long long>(s.experts);
        counts->fill(0);
        auto bias = floats(s.experts);
        return [=](cudaStream_t on) {
          router_update_bias(static_cast<int>(s.experts), counts->get(), 1e-3f, bias->get(), on);
        };
      })};
}

// The ends of the model, of a vocabulary divided by eight, and of a step.
std::vector<Case> end_cases(const Layer& l) {
  const kernels::EmbeddingShape table{l.tokens, 0, l.vocab, l.hidden};
  const kernels::CrossEntropyShape part{l.tokens, 0, l.vocab / 8};
  const std::int64_t logits = l.tokens * part.vocab, n = l.parameters, hidden = l.tokens * l.hidden;
  const std::string rows = sizes({l.tokens, l.hidden}), columns = sizes({l.tokens, part.vocab});
  return {streaming("embedding", rows, 6 * hidden,
                    [=] {
                      auto values = floats(l.vocab * l.hidden);
                      auto tokens = ids(l.tokens, 31, l.vocab);
                      auto out = room<Bf16>(hidden);
                      return [=](cudaStream_t on) {
                        embedding_lookup(table, tokens->get(), values->get(), out->get(), on);
                      };
                    }),
          streaming("embedding gradient", rows, 10 * hidden,
                    [=] {
                      auto dtable = floats(l.vocab * l.hidden);
                      auto tokens = ids(l.tokens, 31, l.vocab);
                      auto dout = bf16(hidden);
                      return [=](cudaStream_t on) {
                        embedding_gradient(table, tokens->get(), dout->get(), dtable->get(), on);
                      };
                    }),
          streaming("cross-entropy statistics", columns, 2 * logits,
                    [=] {
                      auto x = bf16(logits);
                      auto targets = ids(l.tokens, 31, l.vocab);
                      auto most = room<float>(l.tokens), sum = room<float>(l.tokens),
                           target = room<float>(l.tokens);
                      return [=](cudaStream_t on) {
                        cross_entropy_statistics(part, x->get(), targets->get(), most->get(),
                                                 sum->get(), target->get(), on);
                      };
                    }),
          streaming("cross-entropy gradient", columns, 4 * logits,
                    [=] {
                      auto x = bf16(logits);
                      auto targets = ids(l.tokens, 31, l.vocab);
                      auto most = floats(l.tokens), sum = floats(l.tokens);
                      return [=](cudaStream_t on) {
                        cross_entropy_gradient(part, targets->get(), most->get(), sum->get(), 1.0f,
                                               x->get(), on);
                      };
                    }),
          streaming("AdamW, float moments", sizes({n}), 28 * n,
                    [=] {
                      auto g = floats(n), p = floats(n), m = floats(n), v = room<float>(n);
                      v->fill(0);
                      kernels::AdamwStep step;
                      step.learning_rate = 1e-4;
                      return [=](cudaStream_t on) {
                        adamw(n, step, g->get(), p->get(), m->get(), v->get(), on);
                      };
                    }),
          streaming("sum of squares", sizes({n}), 4 * n, [=] {
            auto x = floats(n);
            auto sum = room<double>(1);
            sum->fill(0);
            return [=](cudaStream_t on) { squared_sum(n, x->get(), sum->get(), on); };
          })};
}

}  // namespace

std::vector<Case> small_cases(const Layer& layer) {
  std::vector<Case> cases;
  for (const auto& more :
       {head_cases(layer), elementwise_cases(layer), router_cases(layer), end_cases(layer)})
    cases.insert(cases.end(), more.begin(), more.end());
  return cases;
}

}  // namespace orrery::cuda
