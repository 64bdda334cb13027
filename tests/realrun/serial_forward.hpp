#pragma once
// The forward pass of a DeepSeek-V3-shaped model over one sequence, written as plainly as it goes,
// scalar by scalar on a tape (tests/realrun/tape.hpp), for tests/realrun/serial_model.hpp. It has
// no code in common with kernels/ or the ops of realrun/. Names of parameters as in
// realrun/parameters.hpp.
//
// Report: DeepSeek-V3 technical report, arXiv 2412.19437, sections 2.1 (attention, experts,
// balance) and 2.2 (multi-token prediction). A sequence is t[0 .. S + 1 + mtp_depth): inputs
// t[0..S), targets t[1..S+1), those of the MTP module t[2..S+2).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/model.hpp"
#include "realrun/recipe.hpp"
#include "tests/realrun/tape.hpp"

namespace orrery {

using Row = std::vector<Var>;   // of one token
using Rows = std::vector<Row>;  // token after token

// A parameter on the tape, [outputs, inputs] by rows; norms are one row.
struct SerialWeight {
  std::int64_t columns = 0;
  Row elements;

  std::int64_t rows() const { return static_cast<std::int64_t>(elements.size()) / columns; }
  std::span<const Var> row(std::int64_t row) const {
    return {elements.data() + row * columns, static_cast<std::size_t>(columns)};
  }
};
using SerialWeights = std::map<std::string, SerialWeight>;

// What a sequence adds to the loss; cross-entropies summed over its tokens.
struct SequenceLoss {
  Var cross_entropy, mtp_cross_entropy, balance;
};

// The forward pass of one sequence. Units are named as parameters are: "layer 2", "mtp 0".
class SerialForward {
 public:
  using Bias = std::map<std::string, std::vector<double>>;          // by unit and expert
  using Counts = std::map<std::string, std::vector<std::int64_t>>;  // by unit and expert

  SerialForward(const Model& model, const Recipe& recipe, const SerialWeights& weights,
                const Bias& bias)
      : model_(model), recipe_(recipe), weights_(weights), bias_(bias) {}

  SequenceLoss run(const std::vector<std::int32_t>& tokens) {
    const std::size_t length = tokens.size() - 1 - static_cast<std::size_t>(model_.mtp_depth);
    const std::span<const std::int32_t> ids(tokens);
    SequenceLoss loss;
    Rows x = embed(ids.first(length));
    for (int layer = 0; layer < model_.layers; ++layer) {
      const std::string unit = fmt::format("layer {}", layer);
      x = attention(unit, x);
      x = layer < model_.dense_layers ? dense_mlp(unit, x) : experts(unit, x, loss.balance);
    }
    loss.cross_entropy = cross_entropy("head", x, ids.subspan(1, length));
    if (model_.mtp_depth == 0) return loss;
    x = mtp_input("mtp 0", x, embed(ids.subspan(1, length)));
    x = experts("mtp 0", attention("mtp 0", x), loss.balance);
    loss.mtp_cross_entropy = cross_entropy("mtp 0", x, ids.subspan(2, length));
    return loss;
  }

  // Tokens of the sequence that chose each expert.
  const Counts& counts() const { return counts_; }

 private:
  const SerialWeight& weight(const std::string& unit, const char* name) const {
    return weights_.at(unit + " " + name);
  }

  // y = x w^T
  static Row linear(const Row& x, const SerialWeight& w) {
    Row y;
    for (std::int64_t output = 0; output < w.rows(); ++output) y.push_back(dot(x, w.row(output)));
    return y;
  }
  static Rows linear(const Rows& x, const SerialWeight& w) {
    Rows y;
    for (const Row& row : x) y.push_back(linear(row, w));
    return y;
  }
  // y_j = x_j / sqrt(mean_l x_l^2 + epsilon) w_j
  Row norm(const Row& x, const SerialWeight& w) const {
    const Var mean_square = dot(x, x) / static_cast<double>(x.size());
    const Var scale = 1.0 / sqrt(mean_square + recipe_.norm_epsilon);
    Row y;
    for (std::size_t at = 0; at < x.size(); ++at) y.push_back(x[at] * scale * w.elements[at]);
    return y;
  }
  Rows norm(const Rows& x, const SerialWeight& w) const {
    Rows y;
    for (const Row& row : x) y.push_back(norm(row, w));
    return y;
  }
  static Row add(const Row& a, const Row& b) {
    Row y;
    for (std::size_t at = 0; at < a.size(); ++at) y.push_back(a[at] + b[at]);
    return y;
  }
  static Row columns(const Row& x, int first, int count) {
    return Row(x.begin() + first, x.begin() + first + count);
  }
  static Row joined(Row a, const Row& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  Rows embed(std::span<const std::int32_t> ids) const {
    const SerialWeight& table = weights_.at("embedding weight");
    Rows x;
    for (std::int32_t id : ids) {
      const std::span<const Var> row = table.row(id);
      x.emplace_back(row.begin(), row.end());
    }
    return x;
  }

  // Neighbours (2i, 2i + 1) turn by position theta^(-2i / dim), as one complex number (Su et al.,
  // "RoFormer", 2021, equation 34).
  Row rotated(const Row& x, std::size_t position) const {
    Row y;
    for (std::size_t at = 0; at < x.size(); at += 2) {
      const double angle =
          static_cast<double>(position) *
          std::pow(recipe_.rope_theta, -static_cast<double>(at) / static_cast<double>(x.size()));
      y.push_back(x[at] * std::cos(angle) - x[at + 1] * std::sin(angle));
      y.push_back(x[at] * std::sin(angle) + x[at + 1] * std::cos(angle));
    }
    return y;
  }

  // x + multi-head latent attention (report, section 2.1.1). Every head of the query and of the key
  // is [nope | rope], the rope part of the key being one for all heads; the up-projection of the
  // latent holds for every head its [key nope | value].
  Rows attention(const std::string& unit, const Rows& x) const {
    const Attention& a = model_.attention;
    const Rows normed = norm(x, weight(unit, "attention.norm"));
    Rows queries;
    if (a.q_lora_rank > 0) {
      const Rows latent = linear(normed, weight(unit, "attention.q_down"));
      queries =
          linear(norm(latent, weight(unit, "attention.q_norm")), weight(unit, "attention.q_up"));
    } else {
      queries = linear(normed, weight(unit, "attention.q_proj"));
    }
    Rows rope_keys, up;
    for (const Row& latent : linear(normed, weight(unit, "attention.kv_down"))) {
      rope_keys.push_back(
          rotated(columns(latent, a.kv_lora_rank, a.qk_rope_dim), rope_keys.size()));
      up.push_back(
          linear(norm(columns(latent, 0, a.kv_lora_rank), weight(unit, "attention.kv_norm")),
                 weight(unit, "attention.kv_up")));
    }
    Rows attended(x.size());
    for (int head = 0; head < a.heads; ++head) {
      Rows keys;
      Rows values(static_cast<std::size_t>(a.v_dim));  // by column: one row a token so far
      for (std::size_t token = 0; token < x.size(); ++token) {
        const int first = head * (a.qk_nope_dim + a.v_dim);
        keys.push_back(joined(columns(up[token], first, a.qk_nope_dim), rope_keys[token]));
        for (int column = 0; column < a.v_dim; ++column) {
          values[static_cast<std::size_t>(column)].push_back(
              up[token][static_cast<std::size_t>(first + a.qk_nope_dim + column)]);
        }
        const Row query = columns(queries[token], head * a.qk_dim(), a.qk_dim());
        const Row turned = joined(columns(query, 0, a.qk_nope_dim),
                                  rotated(columns(query, a.qk_nope_dim, a.qk_rope_dim), token));
        const Row out = attend(turned, keys, values);
        attended[token].insert(attended[token].end(), out.begin(), out.end());
      }
    }
    Rows middle;
    for (std::size_t token = 0; token < x.size(); ++token) {
      middle.push_back(add(x[token], linear(attended[token], weight(unit, "attention.o_proj"))));
    }
    return middle;
  }

  // softmax(q k^T / sqrt(dim)) v of one query over the tokens up to its own; values [dim][tokens].
  static Row attend(const Row& query, const Rows& keys, const Rows& values) {
    Row shares;
    for (const Row& key : keys)
      shares.push_back(exp(dot(query, key) / std::sqrt(static_cast<double>(query.size()))));
    const Var total = sum(shares);
    for (Var& share : shares) share = share / total;
    Row out;
    for (const Row& column : values) out.push_back(dot(shares, column));
    return out;
  }

  // (scale silu(gate) up) fc2^T with [gate | up] = x fc1^T
  static Row gated_mlp(const Row& x, const SerialWeight& fc1, const SerialWeight& fc2,
                       const Var& scale) {
    const Row gate_up = linear(x, fc1);
    Row inner;
    for (std::size_t at = 0; at < gate_up.size() / 2; ++at) {
      const Var& gate = gate_up[at];
      inner.push_back(scale * (gate / (1.0 + exp(-gate))) * gate_up[gate_up.size() / 2 + at]);
    }
    return linear(inner, fc2);
  }

  Rows dense_mlp(const std::string& unit, const Rows& middle) const {
    Rows out;
    for (const Row& row : middle) {
      out.push_back(add(row, gated_mlp(norm(row, weight(unit, "mlp.norm")), weight(unit, "mlp.fc1"),
                                       weight(unit, "mlp.fc2"), 1)));
    }
    return out;
  }

  // middle + routed and shared experts (report, section 2.1.2). Adds the sequence's balance loss
  // (equations 17 to 20), alpha sum_i f_i P_i with f_i = experts / (top_k S) count_i, a constant,
  // and P_i the mean over tokens of s_i / sum_j s_j.
  Rows experts(const std::string& unit, const Rows& middle, Var& balance) {
    const Moe& moe = model_.moe;
    std::vector<std::int64_t>& counts = counts_[unit];
    counts.assign(static_cast<std::size_t>(moe.experts), 0);
    Row share(counts.size());  // P_i times S
    Rows out;
    for (const Row& row : middle) {
      const Row normed = norm(row, weight(unit, "experts.norm"));
      Row scores = linear(normed, weight(unit, "experts.router"));
      for (Var& score : scores) score = 1.0 / (1.0 + exp(-score));
      const Var all = sum(scores);
      for (std::size_t expert = 0; expert < scores.size(); ++expert)
        share[expert] = share[expert] + scores[expert] / all;
      const std::vector<std::size_t> chosen = choose(scores, bias_.at(unit));
      Var sum_chosen;
      for (std::size_t expert : chosen) sum_chosen = sum_chosen + scores[expert];
      Row y = row;
      for (std::size_t expert : chosen) {
        ++counts[expert];
        const std::string name = fmt::format("{} experts.{}", unit, expert);
        y = add(y, gated_mlp(normed, weight(name, "fc1"), weight(name, "fc2"),
                             recipe_.routed_scale * scores[expert] / sum_chosen));
      }
      if (moe.shared_experts > 0) {
        y = add(y, gated_mlp(normed, weight(unit, "experts.shared fc1"),
                             weight(unit, "experts.shared fc2"), 1));
      }
      out.push_back(std::move(y));
    }
    const auto length = static_cast<double>(middle.size());
    for (std::size_t expert = 0; expert < counts.size(); ++expert) {
      const double load = moe.experts / (moe.top_k * length) * static_cast<double>(counts[expert]);
      balance = balance + recipe_.balance_weight * load / length * share[expert];
    }
    return out;
  }

  // The top_k experts by score + bias within the best groups, a group counting the sum of its two
  // largest. Ties go to the lower index.
  std::vector<std::size_t> choose(const Row& scores, const std::vector<double>& bias) const {
    const auto best = [](std::vector<std::size_t> from, int count, const auto& value) {
      std::stable_sort(from.begin(), from.end(),
                       [&](std::size_t a, std::size_t b) { return value(a) > value(b); });
      from.resize(static_cast<std::size_t>(count));
      return from;
    };
    const auto biased = [&](std::size_t expert) { return scores[expert].value + bias[expert]; };
    const std::size_t size = scores.size() / static_cast<std::size_t>(model_.moe.groups);
    const auto members = [&](std::size_t group) {
      std::vector<std::size_t> all(size);
      std::iota(all.begin(), all.end(), group * size);
      return all;
    };
    const auto strength = [&](std::size_t group) {
      double total = 0;
      for (std::size_t expert : best(members(group), std::min(2, static_cast<int>(size)), biased))
        total += biased(expert);
      return total;
    };
    std::vector<std::size_t> groups(static_cast<std::size_t>(model_.moe.groups));
    std::iota(groups.begin(), groups.end(), std::size_t{0});
    groups = best(groups, model_.moe.groups_per_token, strength);
    std::sort(groups.begin(), groups.end());
    std::vector<std::size_t> open;
    for (std::size_t group : groups) {
      const std::vector<std::size_t> inside = members(group);
      open.insert(open.end(), inside.begin(), inside.end());
    }
    return best(open, model_.moe.top_k, biased);
  }

  // A token's hidden state and the embedding of the next, both normed, projected (report, section
  // 2.2, equation 21).
  Rows mtp_input(const std::string& unit, const Rows& hidden, const Rows& next) const {
    Rows x;
    for (std::size_t token = 0; token < hidden.size(); ++token) {
      x.push_back(linear(joined(norm(hidden[token], weight(unit, "hidden norm")),
                                norm(next[token], weight(unit, "embedding norm"))),
                         weight(unit, "projection")));
    }
    return x;
  }

  // sum over tokens of log sum_v exp(z_v) - z_target; the head's matrix is one for both losses.
  Var cross_entropy(const std::string& unit, const Rows& x,
                    std::span<const std::int32_t> targets) const {
    Var total;
    for (std::size_t token = 0; token < x.size(); ++token) {
      const Row logits =
          linear(norm(x[token], weight(unit, "final norm")), weights_.at("head weight"));
      Row exponentials;
      for (const Var& logit : logits) exponentials.push_back(exp(logit));
      total = total + log(sum(exponentials)) - logits[static_cast<std::size_t>(targets[token])];
    }
    return total;
  }

  const Model& model_;
  const Recipe& recipe_;
  const SerialWeights& weights_;
  const Bias& bias_;
  Counts counts_;
};

}  // namespace orrery
