#include "kernels/router.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/error.hpp"
#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

// The best so many of a row of values offered in order of their index, largest first. A later
// value passes an earlier one only when it is larger, so ties go to the lower index.
template <class T>
class Best {
 public:
  explicit Best(std::int64_t limit) : limit_(static_cast<std::size_t>(limit)) {}

  void clear() { entries_.clear(); }
  void offer(std::int64_t index, const T& value) {
    if (entries_.size() == limit_) {
      if (!(entries_.back().value < value)) return;
      entries_.pop_back();
    }
    auto place = entries_.end();
    while (place != entries_.begin() && (place - 1)->value < value) --place;
    entries_.insert(place, {value, static_cast<std::int32_t>(index)});
  }

  struct Entry {
    T value;
    std::int32_t index;
  };
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::size_t limit_;
  std::vector<Entry> entries_;
};

// DeepSeek-V3 ranks groups by the sum of so many scores (top_k / groups_per_token = 8 / 4).
constexpr std::int64_t kScoresOfGroup = 2;

void check(const RouterShape& shape) {
  ORRERY_CHECK(shape.groups > 0 && shape.experts % shape.groups == 0, "experts {} groups {}",
               shape.experts, shape.groups);
  ORRERY_CHECK(shape.top_k > 0 && shape.groups_per_token <= shape.groups &&
                   shape.top_k <= shape.experts / shape.groups * shape.groups_per_token,
               "top_k {} groups {} groups_per_token {} experts {}", shape.top_k, shape.groups,
               shape.groups_per_token, shape.experts);
}

// f_i of the balance loss for one sequence, times `factor`; f [experts].
template <class T>
void load_fractions(const RouterShape& shape, const BalanceLoss& balance, std::int64_t token,
                    double factor, std::vector<T>& f) {
  const std::int64_t* counts = balance.counts + balance.sequence_of_token[token] * shape.experts;
  const double even = static_cast<double>(shape.experts) /
                      (static_cast<double>(shape.top_k) * static_cast<double>(balance.length));
  for (std::int64_t expert = 0; expert < shape.experts; ++expert) {
    f[expert] = T(factor * even * static_cast<double>(counts[expert]));
  }
}

// What a token with these scores adds to the loss when f is scaled by alpha / length:
// sum_i f_i s_i / sum_j s_j; also the sum of the scores.
template <class T>
struct TokenLoss {
  T loss;
  T sum;
};
template <class T>
TokenLoss<T> token_loss(const std::vector<T>& f, const T* scores) {
  const T dot = std::inner_product(f.begin(), f.end(), scores, T(0));
  const T sum = std::accumulate(scores, scores + f.size(), T(0));
  return {dot / sum, sum};
}

}  // namespace

template <class T>
void router_scores(const RouterShape& shape, const T* logits, T* scores) {
  using std::exp;
  for (std::int64_t at = 0; at < shape.tokens * shape.experts; ++at) {
    scores[at] = T(1) / (T(1) + exp(-logits[at]));
  }
}

template <class T>
void router_choose_groups(const RouterShape& shape, const T* scores, const T* bias,
                          std::int32_t* group_chosen) {
  check(shape);
  const std::int64_t size = shape.experts / shape.groups;
  Best<T> groups(shape.groups_per_token);
  Best<T> members(kScoresOfGroup);
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    groups.clear();
    for (std::int64_t group = 0; group < shape.groups; ++group) {
      members.clear();
      for (std::int64_t expert = group * size; expert < (group + 1) * size; ++expert) {
        members.offer(expert, scores[token * shape.experts + expert] + bias[expert]);
      }
      T score(0);
      for (const auto& member : members.entries()) score += member.value;
      groups.offer(group, score);
    }
    std::int32_t* chosen = group_chosen + token * shape.groups;
    std::fill_n(chosen, shape.groups, 0);
    for (const auto& group : groups.entries()) chosen[group.index] = 1;
  }
}

template <class T>
void router_choose_experts(const RouterShape& shape, const T* scores, const T* bias,
                           const std::int32_t* group_chosen, std::int32_t* choice) {
  check(shape);
  const std::int64_t size = shape.experts / shape.groups;
  Best<T> best(shape.top_k);
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    best.clear();
    for (std::int64_t group = 0; group < shape.groups; ++group) {
      if (group_chosen[token * shape.groups + group] == 0) continue;
      for (std::int64_t expert = group * size; expert < (group + 1) * size; ++expert) {
        best.offer(expert, scores[token * shape.experts + expert] + bias[expert]);
      }
    }
    const auto& entries = best.entries();
    ORRERY_CHECK(static_cast<std::int64_t>(entries.size()) == shape.top_k,
                 "token {}: {} experts in its groups, {} wanted", token, entries.size(),
                 shape.top_k);
    std::transform(entries.begin(), entries.end(), choice + token * shape.top_k,
                   [](const auto& entry) { return entry.index; });
  }
}

template <class T>
void router_weights(const RouterShape& shape, const T* scores, const std::int32_t* choice,
                    double scale, T* weights) {
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    const T* s = scores + token * shape.experts;
    const std::int32_t* chosen = choice + token * shape.top_k;
    T sum(0);
    for (std::int64_t slot = 0; slot < shape.top_k; ++slot) sum += s[chosen[slot]];
    for (std::int64_t slot = 0; slot < shape.top_k; ++slot) {
      weights[token * shape.top_k + slot] = T(scale) * s[chosen[slot]] / sum;
    }
  }
}

void router_count(const RouterShape& shape, const std::int32_t* choice, std::int64_t* counts) {
  for (std::int64_t at = 0; at < shape.tokens * shape.top_k; ++at) ++counts[choice[at]];
}

void router_count_by_sequence(const RouterShape& shape, const std::int32_t* choice,
                              const std::int32_t* sequence_of_token, std::int64_t* counts) {
  RouterShape one = shape;
  one.tokens = 1;
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    router_count(one, choice + token * shape.top_k,
                 counts + sequence_of_token[token] * shape.experts);
  }
}

template <class T>
T balance_loss_terms(const RouterShape& shape, const BalanceLoss& balance, const T* scores) {
  std::vector<T> f(shape.experts);
  T loss(0);
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    load_fractions(shape, balance, token, balance.alpha / static_cast<double>(balance.length), f);
    loss += token_loss(f, scores + token * shape.experts).loss;
  }
  return loss;
}

template <class T>
void router_backward(const RouterShape& shape, const T* scores, const std::int32_t* choice,
                     double scale, const T* dweights, const BalanceLoss* balance, double loss_scale,
                     T* dlogits) {
  std::vector<T> f(shape.experts);
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    const T* s = scores + token * shape.experts;
    const std::int32_t* chosen = choice + token * shape.top_k;
    const T* dw = dweights + token * shape.top_k;
    T* ds = dlogits + token * shape.experts;
    std::fill_n(ds, shape.experts, T(0));
    if (balance != nullptr) {
      // L = sum f_i s_i / Z, Z = sum s_j: dL/ds_i = (f_i - L) / Z.
      const double factor = loss_scale * balance->alpha / static_cast<double>(balance->length);
      load_fractions(shape, *balance, token, factor, f);
      const TokenLoss<T> terms = token_loss(f, s);
      for (std::int64_t expert = 0; expert < shape.experts; ++expert) {
        ds[expert] = (f[expert] - terms.loss) / terms.sum;
      }
    }
    // w_k = scale s_k / S, S = sum over the chosen: dL/ds_k = scale / S (dw_k - sum dw_j s_j / S).
    T sum(0);
    T dot(0);
    for (std::int64_t slot = 0; slot < shape.top_k; ++slot) {
      sum += s[chosen[slot]];
      dot += dw[slot] * s[chosen[slot]];
    }
    for (std::int64_t slot = 0; slot < shape.top_k; ++slot) {
      ds[chosen[slot]] += T(scale) / sum * (dw[slot] - dot / sum);
    }
    for (std::int64_t expert = 0; expert < shape.experts; ++expert) {
      ds[expert] *= s[expert] * (T(1) - s[expert]);
    }
  }
}

template <class T>
void router_update_bias(std::int64_t experts, const std::int64_t* counts, double rate, T* bias) {
  const std::int64_t total = std::accumulate(counts, counts + experts, std::int64_t{0});
  for (std::int64_t expert = 0; expert < experts; ++expert) {
    const std::int64_t load = counts[expert] * experts;
    if (load < total) bias[expert] += T(rate);
    if (load > total) bias[expert] -= T(rate);
  }
}

template decltype(router_scores<float>) router_scores<float>;
template decltype(router_scores<double>) router_scores<double>;
template decltype(router_scores<Dual>) router_scores<Dual>;
template decltype(router_choose_groups<float>) router_choose_groups<float>;
template decltype(router_choose_groups<double>) router_choose_groups<double>;
template decltype(router_choose_groups<Dual>) router_choose_groups<Dual>;
template decltype(router_choose_experts<float>) router_choose_experts<float>;
template decltype(router_choose_experts<double>) router_choose_experts<double>;
template decltype(router_choose_experts<Dual>) router_choose_experts<Dual>;
template decltype(router_weights<float>) router_weights<float>;
template decltype(router_weights<double>) router_weights<double>;
template decltype(router_weights<Dual>) router_weights<Dual>;
template decltype(balance_loss_terms<float>) balance_loss_terms<float>;
template decltype(balance_loss_terms<double>) balance_loss_terms<double>;
template decltype(balance_loss_terms<Dual>) balance_loss_terms<Dual>;
template decltype(router_backward<float>) router_backward<float>;
template decltype(router_backward<double>) router_backward<double>;
template decltype(router_backward<Dual>) router_backward<Dual>;
template decltype(router_update_bias<float>) router_update_bias<float>;
template decltype(router_update_bias<double>) router_update_bias<double>;
template decltype(router_update_bias<Dual>) router_update_bias<Dual>;

}  // namespace orrery::kernels
