// The router, the rows of experts, the ends of the model and the optimizer of the set.
#include <cstring>

#include "kernels/cuda/adamw.hpp"
#include "kernels/cuda/cross_entropy.hpp"
#include "kernels/cuda/cuda_call.cuh"
#include "kernels/cuda/end_kernels.hpp"
#include "kernels/cuda/permute.hpp"
#include "kernels/cuda/small_kernels.hpp"
#include "kernels/cuda/token_router.hpp"
#include "kernels/fp8.hpp"
#include "kernels/fp8_tiles.hpp"

namespace orrery::cuda {
namespace {

std::int64_t up_to(std::int64_t count, std::int64_t multiple) {
  return (count + multiple - 1) / multiple * multiple;
}

// Rows of E4M3: codes, then the scales of their tiles, each padded to whole vectors.
struct Fp8Rows {
  static constexpr std::int64_t kVector = 16;

  std::int64_t columns, tiles, codes_bytes, row_bytes;
  explicit Fp8Rows(std::int64_t hidden)
      : columns(hidden),
        tiles((hidden + kernels::kTileLength - 1) / kernels::kTileLength),
        codes_bytes(up_to(hidden, kVector)),
        row_bytes(codes_bytes + up_to(4 * tiles, kVector)) {}

  std::vector<std::uint8_t> packed(std::int64_t rows, const float* x) const {
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * columns));
    std::vector<float> scales(static_cast<std::size_t>(rows * tiles));
    kernels::quantise_rows<float>({rows, columns}, x, codes.data(), scales.data());
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(rows * row_bytes), 0);
    for (std::int64_t row = 0; row < rows; ++row) {
      std::uint8_t* to = bytes.data() + row * row_bytes;
      std::memcpy(to, codes.data() + row * columns, static_cast<std::size_t>(columns));
      std::memcpy(to + codes_bytes, scales.data() + row * tiles,
                  static_cast<std::size_t>(4 * tiles));
    }
    return bytes;
  }
  void unpack(std::int64_t rows, const std::vector<std::uint8_t>& bytes, float* x) const {
    std::vector<float> scales(static_cast<std::size_t>(tiles));
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::uint8_t* from = bytes.data() + row * row_bytes;
      std::memcpy(scales.data(), from + codes_bytes, static_cast<std::size_t>(4 * tiles));
      for (std::int64_t column = 0; column < columns; ++column) {
        x[row * columns + column] = kernels::decode_e4m3(from[column]) *
                                    scales[static_cast<std::size_t>(column / kernels::kTileLength)];
      }
    }
  }
};

// What the balance loss adds to the gradients of scores before they are centred, [tokens][experts].
std::vector<float> fractions(const kernels::RouterShape& s, const kernels::BalanceLoss& balance,
                             double loss_scale) {
  const auto length = static_cast<double>(balance.length);
  const double even = static_cast<double>(s.experts) / (static_cast<double>(s.top_k) * length);
  std::vector<float> f;
  for (std::int64_t token = 0; token < s.tokens; ++token) {
    const std::int64_t* counts = balance.counts + balance.sequence_of_token[token] * s.experts;
    for (std::int64_t expert = 0; expert < s.experts; ++expert) {
      f.push_back(static_cast<float>(loss_scale * balance.alpha / length * even *
                                     static_cast<double>(counts[expert])));
    }
  }
  return f;
}

// [tokens][slots] of the rows of each token in order, -1 where it has none, out of the token of
// each.
struct RowsOfTokens {
  RowsOfTokens(std::int64_t tokens, std::int64_t rows, const std::int32_t* token_of_row) {
    std::vector<std::int64_t> count(static_cast<std::size_t>(tokens), 0);
    for (std::int64_t row = 0; row < rows; ++row)
      slots = std::max(slots, ++count[static_cast<std::size_t>(token_of_row[row])]);
    row_of.assign(static_cast<std::size_t>(tokens * slots), -1);
    std::fill(count.begin(), count.end(), 0);
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int64_t token = token_of_row[row];
      const std::int64_t slot = count[static_cast<std::size_t>(token)]++;
      row_of[static_cast<std::size_t>(token * slots + slot)] = static_cast<std::int32_t>(row);
    }
  }
  std::int64_t slots = 0;
  std::vector<std::int32_t> row_of;
};

}  // namespace

void CudaKernels::narrow_to_e5m6(std::int64_t n, const float* x, float* y) {
  Call call(*this);
  const Bf16* from = call.bf16(n, x);
  Bf16* to = call.bf16_out(n, y);
  call.run([&] { cuda::narrow_to_e5m6(n, from, to, call.stream()); });
}

void CudaKernels::router_scores(const kernels::RouterShape& s, const float* logits, float* scores) {
  Call call(*this);
  const std::int64_t n = s.tokens * s.experts;
  const float* from = call.values(n, logits);
  float* to = call.out(n, scores);
  call.run([&] { cuda::router_scores(s, from, to, call.stream()); });
}

void CudaKernels::router_choose_groups(const kernels::RouterShape& s, const float* scores,
                                       const float* bias, std::int32_t* group_chosen) {
  Call call(*this);
  const float *from = call.values(s.tokens * s.experts, scores),
              *own_bias = call.values(s.experts, bias);
  std::int32_t* to = call.out(s.tokens * s.groups, group_chosen);
  call.run([&] { cuda::router_choose_groups(s, from, own_bias, to, call.stream()); });
}

void CudaKernels::router_choose_experts(const kernels::RouterShape& s, const float* scores,
                                        const float* bias, const std::int32_t* group_chosen,
                                        std::int32_t* choice) {
  Call call(*this);
  const float *from = call.values(s.tokens * s.experts, scores),
              *own_bias = call.values(s.experts, bias);
  const std::int32_t* groups = call.values(s.tokens * s.groups, group_chosen);
  std::int32_t* to = call.out(s.tokens * s.top_k, choice);
  call.run([&] { cuda::router_choose_experts(s, from, own_bias, groups, to, call.stream()); });
}

void CudaKernels::router_weights(const kernels::RouterShape& s, const float* scores,
                                 const std::int32_t* choice, double scale, float* weights) {
  Call call(*this);
  const float* from = call.values(s.tokens * s.experts, scores);
  const std::int32_t* chosen = call.values(s.tokens * s.top_k, choice);
  float* to = call.out(s.tokens * s.top_k, weights);
  call.run(
      [&] { cuda::router_weights(s, from, chosen, static_cast<float>(scale), to, call.stream()); });
}

void CudaKernels::router_backward(const kernels::RouterShape& s, const float* scores,
                                  const std::int32_t* choice, double scale, const float* dweights,
                                  const kernels::BalanceLoss* balance, double loss_scale,
                                  float* dlogits) {
  Call call(*this);
  const float *from = call.values(s.tokens * s.experts, scores),
              *gradient = call.values(s.tokens * s.top_k, dweights);
  const std::int32_t* chosen = call.values(s.tokens * s.top_k, choice);
  const float* f =
      balance == nullptr ? nullptr : call.upload<float>(fractions(s, *balance, loss_scale));
  float* to = call.out(s.tokens * s.experts, dlogits);
  call.run([&] {
    cuda::router_backward(s, from, chosen, static_cast<float>(scale), gradient, f, to,
                          call.stream());
  });
}

// Rows of codes are copied as BF16 of as many bytes.
void CudaKernels::expand_rows(std::int64_t rows, std::int64_t hidden, kernels::RowType type,
                              std::int64_t tokens, const std::int32_t* token_of_row, const float* x,
                              float* out) {
  Call call(*this);
  const RowsOfTokens map(tokens, rows, token_of_row);
  const auto* at = call.upload<std::int32_t>(map.row_of);
  if (type == kernels::RowType::kBf16) {
    const Bf16* from = call.bf16(tokens * hidden, x);
    Bf16* to = call.bf16_out(rows * hidden, out);
    return call.run(
        [&] { cuda::expand_rows(tokens, map.slots, hidden, at, from, to, call.stream()); });
  }
  const Fp8Rows packing(hidden);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(rows * packing.row_bytes));
  const auto* from =
      reinterpret_cast<const Bf16*>(call.upload<std::uint8_t>(packing.packed(tokens, x)));
  auto* to =
      reinterpret_cast<Bf16*>(call.out(static_cast<std::int64_t>(bytes.size()), bytes.data()));
  call.run([&] {
    cuda::expand_rows(tokens, map.slots, packing.row_bytes / 2, at, from, to, call.stream());
  });
  packing.unpack(rows, bytes, out);
}

void CudaKernels::reduce_rows(const kernels::PermuteShape& shape, std::int64_t hidden,
                              std::int64_t rows, const std::int32_t* row_of, const float* y,
                              float* out) {
  Call call(*this);
  const std::int32_t* at = call.values(shape.tokens * shape.slots, row_of);
  const Bf16* from = call.bf16(rows * hidden, y);
  Bf16* to = call.bf16_out(shape.tokens * hidden, out);
  call.run(
      [&] { cuda::reduce_rows(shape.tokens, shape.slots, hidden, at, from, to, call.stream()); });
}

void CudaKernels::embedding_lookup(const kernels::EmbeddingShape& s, const std::int32_t* ids,
                                   const float* table, float* out) {
  Call call(*this);
  const std::int32_t* at = call.values(s.tokens, ids);
  const float* from = call.values(s.rows * s.columns, table);
  Bf16* to = call.bf16_out(s.tokens * s.columns, out);
  call.run([&] { cuda::embedding_lookup(s, at, from, to, call.stream()); });
}

void CudaKernels::embedding_gradient(const kernels::EmbeddingShape& s, const std::int32_t* ids,
                                     const float* dout, float* dtable) {
  Call call(*this);
  const std::int32_t* at = call.values(s.tokens, ids);
  const Bf16* from = call.bf16(s.tokens * s.columns, dout);
  float* to = call.both(s.rows * s.columns, dtable);
  call.run([&] { cuda::embedding_gradient(s, at, from, to, call.stream()); });
}

void CudaKernels::cross_entropy(const kernels::CrossEntropyShape& s, const std::int32_t* targets,
                                float scale, float* logits, float* loss) {
  Call call(*this);
  const std::int32_t* at = call.values(s.tokens, targets);
  Bf16* z = call.bf16_both(s.tokens * s.vocab, logits);
  float* losses = call.out(s.tokens, loss);
  call.run([&] { cuda::cross_entropy(s.tokens, s.vocab, at, scale, z, losses, call.stream()); });
}

void CudaKernels::cross_entropy_statistics(const kernels::CrossEntropyShape& s, const float* logits,
                                           const std::int32_t* targets, float* max, float* sum_exp,
                                           float* target_logit) {
  Call call(*this);
  const std::int32_t* at = call.values(s.tokens, targets);
  const Bf16* z = call.bf16(s.tokens * s.vocab, logits);
  float *most = call.out(s.tokens, max), *sum = call.out(s.tokens, sum_exp),
        *target = call.out(s.tokens, target_logit);
  call.run([&] { cuda::cross_entropy_statistics(s, z, at, most, sum, target, call.stream()); });
}

void CudaKernels::cross_entropy_gradient(const kernels::CrossEntropyShape& s,
                                         const std::int32_t* targets, const float* max,
                                         const float* sum_exp, float scale, float* logits) {
  Call call(*this);
  const std::int32_t* at = call.values(s.tokens, targets);
  const float *most = call.values(s.tokens, max), *sum = call.values(s.tokens, sum_exp);
  Bf16* z = call.bf16_both(s.tokens * s.vocab, logits);
  call.run([&] { cuda::cross_entropy_gradient(s, at, most, sum, scale, z, call.stream()); });
}

void CudaKernels::add(std::int64_t n, const float* a, const float* b, float* out) {
  Call call(*this);
  const Bf16 *one = call.bf16(n, a), *other = call.bf16(n, b);
  Bf16* sum = call.bf16_out(n, out);
  call.run([&] { cuda::add(n, one, other, sum, call.stream()); });
}

void CudaKernels::adamw(std::int64_t n, const kernels::AdamwStep& step, const float* gradient,
                        float* parameter, float* first_moment, float* second_moment) {
  Call call(*this);
  const float* g = call.values(n, gradient);
  float *p = call.both(n, parameter), *m = call.both(n, first_moment),
        *v = call.both(n, second_moment);
  call.run([&] { cuda::adamw(n, step, g, p, m, v, call.stream()); });
}

// Whole vectors: elements of 0 beyond the end stay 0.
void CudaKernels::adamw(std::int64_t n, const kernels::AdamwStep& step, const float* gradient,
                        float* parameter, kernels::Bf16* first_moment,
                        kernels::Bf16* second_moment) {
  Call call(*this);
  const std::int64_t all = up_to(n, 8);
  std::vector<float> wide(gradient, gradient + n);
  wide.resize(static_cast<std::size_t>(all), 0);
  const float* g = call.upload<float>(wide);
  float* p = call.both(n, parameter, all);
  auto* m = reinterpret_cast<Bf16*>(call.both(n, first_moment, all));
  auto* v = reinterpret_cast<Bf16*>(call.both(n, second_moment, all));
  call.run([&] { cuda::adamw(all, step, g, p, m, v, nullptr, call.stream()); });
}

double CudaKernels::squared_sum(std::int64_t n, const float* x) {
  Call call(*this);
  double sum = 0;
  const float* from = call.values(n, x);
  double* to = call.both(std::int64_t{1}, &sum);
  call.run([&] { cuda::squared_sum(n, from, to, call.stream()); });
  return sum;
}

}  // namespace orrery::cuda
