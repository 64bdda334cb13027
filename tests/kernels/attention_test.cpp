#include "kernels/attention.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>

#include "core/error.hpp"
#include "kernels/bfloat16.hpp"
#include "tests/kernels/adjoint.hpp"

namespace orrery::kernels {
namespace {

template <class T>
struct Inputs {
  std::vector<T> q, k, v;
};

template <class T>
struct Results {
  std::vector<T> out, lse;
};

template <class T>
Inputs<T> make_inputs(const AttentionShape& shape, double q_size = 1) {
  const std::int64_t rows = shape.tokens() * shape.heads;
  Inputs<T> inputs{random_vector<T>(rows * shape.qk_dim, 1),
                   random_vector<T>(rows * shape.qk_dim, 2),
                   random_vector<T>(rows * shape.v_dim, 3)};
  for (T& value : inputs.q) value *= T(q_size);
  return inputs;
}

template <class T>
Results<T> forward(const AttentionShape& shape, double scale, const Inputs<T>& inputs) {
  const std::int64_t rows = shape.tokens() * shape.heads;
  Results<T> results{poisoned<T>(rows * shape.v_dim), poisoned<T>(rows)};
  attention_forward(shape, scale, inputs.q.data(), inputs.k.data(), inputs.v.data(),
                    results.out.data(), results.lse.data());
  return results;
}

template <class T>
Inputs<T> backward(const AttentionShape& shape, double scale, const Inputs<T>& inputs,
                   const Results<T>& results, const std::vector<T>& dout) {
  auto delta = poisoned<T>(static_cast<std::int64_t>(results.lse.size()));
  attention_backward_delta(shape, results.out.data(), dout.data(), delta.data());
  const auto like = [](const std::vector<T>& tensor) {
    return poisoned<T>(static_cast<std::int64_t>(tensor.size()));
  };
  Inputs<T> gradients{like(inputs.q), like(inputs.k), like(inputs.v)};
  attention_backward(shape, scale, inputs.q.data(), inputs.k.data(), inputs.v.data(), dout.data(),
                     results.lse.data(), delta.data(), gradients.q.data(), gradients.k.data(),
                     gradients.v.data());
  return gradients;
}

// Straight from the definition, one query after another: softmax with the largest score subtracted.
Results<double> naive(const AttentionShape& shape, double scale, const Inputs<double>& inputs) {
  Results<double> results;
  for (std::int64_t query = 0; query < shape.tokens(); ++query) {
    const std::int64_t first_key = query / shape.length * shape.length;
    for (std::int64_t head = 0; head < shape.heads; ++head) {
      std::vector<double> scores;
      for (std::int64_t key = first_key; key <= query; ++key) {
        double score = 0;
        for (std::int64_t column = 0; column < shape.qk_dim; ++column) {
          score += inputs.q[(query * shape.heads + head) * shape.qk_dim + column] *
                   inputs.k[(key * shape.heads + head) * shape.qk_dim + column];
        }
        scores.push_back(scale * score);
      }
      const double largest = *std::max_element(scores.begin(), scores.end());
      double sum = 0;
      for (const double score : scores) sum += std::exp(score - largest);
      results.lse.push_back(largest + std::log(sum));
      for (std::int64_t column = 0; column < shape.v_dim; ++column) {
        double out = 0;
        for (std::size_t at = 0; at < scores.size(); ++at) {
          const std::int64_t key = first_key + static_cast<std::int64_t>(at);
          out += std::exp(scores[at] - largest) / sum *
                 inputs.v[(key * shape.heads + head) * shape.v_dim + column];
        }
        results.out.push_back(out);
      }
    }
  }
  return results;
}

// Lengths on either side of a block of 64 queries, and of two.
const std::array kShapes{
    AttentionShape{.sequences = 1, .length = 1, .heads = 1, .qk_dim = 1, .v_dim = 1},
    AttentionShape{.sequences = 3, .length = 5, .heads = 2, .qk_dim = 4, .v_dim = 3},
    AttentionShape{.sequences = 2, .length = 63, .heads = 1, .qk_dim = 6, .v_dim = 8},
    AttentionShape{.sequences = 1, .length = 64, .heads = 3, .qk_dim = 5, .v_dim = 2},
    AttentionShape{.sequences = 2, .length = 65, .heads = 2, .qk_dim = 3, .v_dim = 4},
    AttentionShape{.sequences = 1, .length = 130, .heads = 2, .qk_dim = 12, .v_dim = 8},
};

std::vector<double> widened(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

TEST_CASE("attention is softmax(scale q k^T) v over the tokens so far") {
  for (const AttentionShape& shape : kShapes) {
    for (const double scale : {0.3, 2.0}) {
      CAPTURE(shape.sequences, shape.length, shape.heads, shape.qk_dim, shape.v_dim, scale);
      const auto expected = naive(shape, scale, make_inputs<double>(shape));
      const auto results = forward(shape, scale, make_inputs<double>(shape));
      CHECK(close(results.out, expected.out, 1e-14));
      CHECK(close(results.lse, expected.lse, 1e-14));
      const auto floats = forward(shape, scale, make_inputs<float>(shape));
      CHECK(close(widened(floats.out), expected.out, 1e-6));
      CHECK(close(widened(floats.lse), expected.lse, 1e-6));
    }
  }
}

// Scores of some 10^4: their exponentials overflow unless the largest is subtracted first.
TEST_CASE("large scores do not overflow") {
  const AttentionShape shape = kShapes[4];
  const auto inputs = make_inputs<double>(shape, 1e4);
  const auto expected = naive(shape, 1, inputs);
  const auto results = forward(shape, 1, inputs);
  CHECK(close(results.out, expected.out, 1e-10));
  CHECK(close(results.lse, expected.lse, 1e-13));
  // Here a score's own rounding, 1e4 x 2^-24, is an error of the exponent.
  const auto floats = forward(shape, 1, make_inputs<float>(shape, 1e4));
  CHECK(close(widened(floats.out), expected.out, 1e-2));
}

TEST_CASE("attention's gradients with respect to q, k and v are the adjoint of the forward") {
  const AttentionShape shape = GENERATE(from_range(kShapes));
  std::vector<double> Inputs<double>::*const part =
      GENERATE(&Inputs<double>::q, &Inputs<double>::k, &Inputs<double>::v);
  const int which = part == &Inputs<double>::q ? 0 : part == &Inputs<double>::k ? 1 : 2;
  CAPTURE(shape.sequences, shape.length, shape.heads, shape.qk_dim, shape.v_dim, which);
  if (shape.length == 1 && which < 2) return;  // out = v: J = 0, nothing to compare relatively
  const double scale = 0.7;
  const auto inputs = make_inputs<double>(shape);
  check_derivative(
      inputs.*part,
      [&]<class T>(const std::vector<T>& x) {
        Inputs<T> moving{converted<T>(inputs.q), converted<T>(inputs.k), converted<T>(inputs.v)};
        (which == 0 ? moving.q : which == 1 ? moving.k : moving.v) = x;
        return forward(shape, scale, moving).out;
      },
      [&](const std::vector<double>& x, const std::vector<double>& dout) {
        Inputs<double> moving = inputs;
        moving.*part = x;
        return backward(shape, scale, moving, forward(shape, scale, moving), dout).*part;
      });
}

TEST_CASE("the float backward is the double one to rounding") {
  for (const AttentionShape& shape : kShapes) {
    if (shape.length == 1) continue;  // dq = dk = 0
    CAPTURE(shape.length);
    const std::int64_t outs = shape.tokens() * shape.heads * shape.v_dim;
    const auto inputs = make_inputs<double>(shape);
    const auto expected =
        backward(shape, 0.7, inputs, forward(shape, 0.7, inputs), random_vector<double>(outs, 4));
    const auto float_inputs = make_inputs<float>(shape);
    const auto floats = backward(shape, 0.7, float_inputs, forward(shape, 0.7, float_inputs),
                                 random_vector<float>(outs, 4));
    CHECK(close(widened(floats.q), expected.q, 3e-6));
    CHECK(close(widened(floats.k), expected.k, 3e-6));
    CHECK(close(widened(floats.v), expected.v, 3e-6));
  }
}

// With one token out = v whatever the score, so q and k have no gradient.
TEST_CASE("a sequence of one token passes its value through") {
  const AttentionShape shape{.sequences = 4, .length = 1, .heads = 2, .qk_dim = 3, .v_dim = 5};
  const auto inputs = make_inputs<double>(shape);
  const auto results = forward(shape, 0.7, inputs);
  CHECK(close(results.out, inputs.v, 1e-15));
  const auto dout = random_vector(shape.tokens() * shape.heads * shape.v_dim, 4);
  const auto gradients = backward(shape, 0.7, inputs, results, dout);
  CHECK(close(gradients.v, dout, 1e-15));
  CHECK(norm(gradients.q) < 1e-15);
  CHECK(norm(gradients.k) < 1e-15);
}

// The heads and sequences of `of` in [first, first + count) of a tensor [tokens][heads][width].
std::vector<double> slice(const AttentionShape& of, std::int64_t first_head, std::int64_t heads,
                          std::int64_t first_sequence, std::int64_t sequences,
                          const std::vector<double>& tensor) {
  const std::int64_t width = static_cast<std::int64_t>(tensor.size()) / (of.tokens() * of.heads);
  std::vector<double> part;
  for (std::int64_t token = first_sequence * of.length;
       token < (first_sequence + sequences) * of.length; ++token) {
    const auto row = tensor.begin() + (token * of.heads + first_head) * width;
    part.insert(part.end(), row, row + heads * width);
  }
  return part;
}

TEST_CASE("a head's results are bitwise the same whichever heads and sequences are beside it") {
  const AttentionShape whole{.sequences = 2, .length = 150, .heads = 4, .qk_dim = 7, .v_dim = 5};
  const auto inputs = make_inputs<double>(whole);
  const auto results = forward(whole, 0.6, inputs);
  const auto dout = random_vector(whole.tokens() * whole.heads * whole.v_dim, 4);
  const auto gradients = backward(whole, 0.6, inputs, results, dout);
  struct Shard {
    std::int64_t first_head, heads, first_sequence, sequences;
  };
  for (const Shard& at : {Shard{0, 2, 0, 2}, Shard{2, 2, 0, 2}, Shard{3, 1, 0, 2},
                          Shard{1, 3, 1, 1}, Shard{0, 1, 0, 1}}) {
    CAPTURE(at.first_head, at.heads, at.first_sequence, at.sequences);
    const auto cut = [&](const std::vector<double>& tensor) {
      return slice(whole, at.first_head, at.heads, at.first_sequence, at.sequences, tensor);
    };
    AttentionShape shape = whole;
    shape.heads = at.heads;
    shape.sequences = at.sequences;
    const Inputs<double> part{cut(inputs.q), cut(inputs.k), cut(inputs.v)};
    const auto part_results = forward(shape, 0.6, part);
    CHECK(part_results.out == cut(results.out));
    CHECK(part_results.lse == cut(results.lse));
    const auto part_gradients = backward(shape, 0.6, part, part_results, cut(dout));
    CHECK(part_gradients.q == cut(gradients.q));
    CHECK(part_gradients.k == cut(gradients.k));
    CHECK(part_gradients.v == cut(gradients.v));
  }
}

TEST_CASE("later tokens and other sequences change nothing, bit for bit") {
  const AttentionShape shape{.sequences = 2, .length = 100, .heads = 1, .qk_dim = 4, .v_dim = 3};
  const auto inputs = make_inputs<double>(shape);
  auto changed = inputs;
  for (std::int64_t column = 0; column < shape.qk_dim; ++column) {
    changed.k[70 * shape.qk_dim + column] += 1;
  }
  const auto before = forward(shape, 0.6, inputs);
  const auto after = forward(shape, 0.6, changed);
  for (std::int64_t token = 0; token < shape.tokens(); ++token) {
    CAPTURE(token);
    const bool sees = token >= 70 && token < 100;
    CHECK((before.lse[token] != after.lse[token]) == sees);
    CHECK((before.out[token * shape.v_dim] != after.out[token * shape.v_dim]) == sees);
  }
}

TEST_CASE("delta is the scalar product of out and its gradient") {
  const AttentionShape shape{.sequences = 1, .length = 2, .heads = 1, .qk_dim = 1, .v_dim = 3};
  const std::vector<double> out{1, 2, 3, 4, 5, 6};
  const std::vector<double> dout{1, 0, -1, 2, 2, 2};
  auto delta = poisoned(2);
  attention_backward_delta(shape, out.data(), dout.data(), delta.data());
  CHECK(delta == std::vector<double>{-2, 30});
}

TEST_CASE("no sequence and no token is nothing to do") {
  for (const AttentionShape& shape :
       {AttentionShape{.sequences = 0, .length = 5, .heads = 2, .qk_dim = 3, .v_dim = 3},
        AttentionShape{.sequences = 2, .length = 0, .heads = 2, .qk_dim = 3, .v_dim = 3}}) {
    const auto inputs = make_inputs<double>(shape);
    const auto results = forward(shape, 1, inputs);
    CHECK(backward(shape, 1, inputs, results, {}).q.empty());
  }
}

TEST_CASE("a scale that is not positive is a bug") {
  const AttentionShape shape = kShapes[0];
  CHECK_THROWS_AS(forward(shape, 0, make_inputs<double>(shape)), Bug);
  CHECK_THROWS_AS(forward(shape, -1, make_inputs<double>(shape)), Bug);
}

// Two queries of one head of width 1, scale 1: q = (0, 1), k = (-0.3, 0), so that the second has
// p = (e^-0.3, 1) / (e^-0.3 + 1). By hand, operands of products rounded to BF16 and nothing else:
//   out_1 = (r(e^-0.3) v_0 + v_1) / (e^-0.3 + 1)
//   dv_0  = r(p_00) dout_0 + r(p_10) dout_1       ds_1j = p_1j (dout_1 v_j - delta_1)
//   dq_1  = r(ds_10) k_0 + r(ds_11) k_1           dk_0 = r(ds_10) q_1
TEST_CASE(
    "with operands in BF16 p and ds are rounded where they are multiplied, and nowhere else") {
  const AttentionShape shape{1, 2, 1, 1, 1};
  const std::vector<float> q = {0, 1}, k = {-0.3f, 0}, v = {1, 0.25f}, dout = {0.5f, 1};
  const auto r = [](double x) {
    return static_cast<double>(to_float(to_bf16(static_cast<float>(x))));
  };
  const double e = std::exp(static_cast<double>(-0.3f)), sum = e + 1;
  std::vector<float> out(2), lse(2), delta(2), dq(2), dk(2), dv(2);
  attention_forward<float, Bf16>(shape, 1, q.data(), k.data(), v.data(), out.data(), lse.data());
  REQUIRE(std::abs(r(e) - e) > 1e-3);  // else this would show nothing
  CHECK(out[1] == Approx((r(e) + 0.25) / sum).epsilon(1e-6));
  CHECK(lse[1] == Approx(std::log(sum)).epsilon(1e-6));

  attention_backward_delta(shape, out.data(), dout.data(), delta.data());
  attention_backward<float, Bf16>(shape, 1, q.data(), k.data(), v.data(), dout.data(), lse.data(),
                                  delta.data(), dq.data(), dk.data(), dv.data());
  const double d = static_cast<double>(out[1]);
  const double ds_0 = e / sum * (1 - d), ds_1 = 1 / sum * (0.25 - d);
  REQUIRE(std::abs(r(e / sum) / (e / sum) - 1) > 1e-4);
  REQUIRE(std::abs(r(ds_0) / ds_0 - 1) > 1e-4);
  CHECK(dv[0] == Approx(0.5 + r(e / sum)).epsilon(1e-6));
  CHECK(dv[1] == Approx(r(1 / sum)).epsilon(1e-6));
  CHECK(dk[0] == Approx(r(ds_0)).epsilon(1e-6));
  CHECK(dk[1] == Approx(r(ds_1)).epsilon(1e-6));
  CHECK(dq[1] == Approx(r(ds_0) * static_cast<double>(-0.3f)).epsilon(1e-6));
}

}  // namespace
}  // namespace orrery::kernels
