#include "kernels/attention.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "core/error.hpp"
#include "kernels/bfloat16.hpp"
#include "kernels/exp_row.hpp"
#include "kernels/gemm.hpp"
#include "kernels/scalar.hpp"

namespace orrery::kernels {
namespace {

// Queries of a block. More rows make the products larger, and the masked part of the diagonal too.
constexpr std::int64_t kBlockRows = 64;

template <class T>
struct Matrix {
  T* data;
  std::int64_t stride;
  T* row(std::int64_t at) const { return data + at * stride; }
};

// One head of one sequence of a [tokens][heads][width] tensor.
template <class T>
Matrix<T> head_of(const AttentionShape& shape, std::int64_t sequence, std::int64_t head,
                  std::int64_t width, T* tensor) {
  return {tensor + (sequence * shape.length * shape.heads + head) * width, shape.heads * width};
}

// The largest q k^T is the largest score only under a positive scale.
void check_scale(double scale) {
  ORRERY_CHECK(scale > 0, "scale {}", scale);
}

template <class T>
std::unique_ptr<T[]> block_of_scores(const AttentionShape& shape) {
  return std::make_unique_for_overwrite<T[]>(
      static_cast<std::size_t>(std::min(kBlockRows, shape.length) * shape.length));
}

// Calls run(first query, queries, keys seen by the last of them) for every block of a sequence.
template <class Run>
void for_each_block(std::int64_t length, const Run& run) {
  for (std::int64_t first = 0; first < length; first += kBlockRows) {
    const std::int64_t rows = std::min(kBlockRows, length - first);
    run(first, rows, first + rows);
  }
}

template <class Run>
void for_each_head(const AttentionShape& shape, const Run& run) {
  for (std::int64_t sequence = 0; sequence < shape.sequences; ++sequence) {
    for (std::int64_t head = 0; head < shape.heads; ++head) run(sequence, head);
  }
}

// Folds a row into 16 lanes and these into one: with one running value, each step would wait for
// the one before. The order depends on the length of the row alone.
template <class T, class Combine>
T fold(const T* row, std::int64_t size, T start, const Combine& combine) {
  constexpr std::int64_t kLanes = 16;
  std::array<T, kLanes> lanes;
  lanes.fill(start);
  std::int64_t at = 0;
  for (; at + kLanes <= size; at += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = combine(lanes[lane], row[at + lane]);
    }
  }
  for (; at < size; ++at) lanes[at % kLanes] = combine(lanes[at % kLanes], row[at]);
  for (std::int64_t lane = 1; lane < kLanes; ++lane) lanes[0] = combine(lanes[0], lanes[lane]);
  return lanes[0];
}

template <class T>
T row_maximum(const T* row, std::int64_t size) {
  return fold(row, size, row[0], [](const T& a, const T& b) { return a < b ? b : a; });
}

// A row as an operand of a product.
template <class T, class Operand>
void round_row(T* row, std::int64_t size) {
  if constexpr (std::is_same_v<Operand, Bf16>)
    std::transform(row, row + size, row, [](T value) { return to_float(to_bf16(value)); });
}

template <class T>
T row_sum(const T* row, std::int64_t size) {
  return fold(row, size, T(0), [](const T& a, const T& b) { return a + b; });
}

}  // namespace

template <class T, class Operand>
void attention_forward(const AttentionShape& shape, double scale, const T* q, const T* k,
                       const T* v, T* out, T* lse) {
  using std::log;
  check_scale(scale);
  const T factor(scale);
  const auto scores = block_of_scores<T>(shape);
  for_each_head(shape, [&](std::int64_t sequence, std::int64_t head) {
    const auto queries = head_of(shape, sequence, head, shape.qk_dim, q);
    const auto keys = head_of(shape, sequence, head, shape.qk_dim, k);
    const auto values = head_of(shape, sequence, head, shape.v_dim, v);
    const auto outs = head_of(shape, sequence, head, shape.v_dim, out);
    const auto sums = head_of(shape, sequence, head, 1, lse);
    for_each_block(shape.length, [&](std::int64_t first, std::int64_t rows, std::int64_t seen) {
      gemm_nt<T>({rows, seen, shape.qk_dim}, queries.row(first), queries.stride, keys.data,
                 keys.stride, scores.get(), seen, false);
      T inverse[kBlockRows];
      for (std::int64_t row = 0; row < rows; ++row) {
        T* p = scores.get() + row * seen;
        const std::int64_t visible = first + row + 1;
        const T largest = factor * row_maximum(p, visible);
        exp_row(p, visible, factor, largest);
        std::fill(p + visible, p + seen, T(0));
        const T sum = row_sum(p, visible);
        *sums.row(first + row) = largest + log(sum);
        inverse[row] = T(1) / sum;
        round_row<T, Operand>(p, visible);
      }
      gemm_nn<T>({rows, shape.v_dim, seen}, scores.get(), seen, values.data, values.stride,
                 outs.row(first), outs.stride, false);
      for (std::int64_t row = 0; row < rows; ++row) {
        T* o = outs.row(first + row);
        for (std::int64_t column = 0; column < shape.v_dim; ++column) o[column] *= inverse[row];
      }
    });
  });
}

template <class T>
void attention_backward_delta(const AttentionShape& shape, const T* out, const T* dout, T* delta) {
  for (std::int64_t row = 0; row < shape.tokens() * shape.heads; ++row) {
    const std::int64_t first = row * shape.v_dim;
    T sum(0);
    for (std::int64_t at = first; at < first + shape.v_dim; ++at) sum += out[at] * dout[at];
    delta[row] = sum;
  }
}

template <class T, class Operand>
void attention_backward(const AttentionShape& shape, double scale, const T* q, const T* k,
                        const T* v, const T* dout, const T* lse, const T* delta, T* dq, T* dk,
                        T* dv) {
  check_scale(scale);
  const T factor(scale);
  const auto scores = block_of_scores<T>(shape);
  const auto dscores = block_of_scores<T>(shape);
  std::fill_n(dk, shape.tokens() * shape.heads * shape.qk_dim, T(0));
  std::fill_n(dv, shape.tokens() * shape.heads * shape.v_dim, T(0));
  for_each_head(shape, [&](std::int64_t sequence, std::int64_t head) {
    const auto queries = head_of(shape, sequence, head, shape.qk_dim, q);
    const auto keys = head_of(shape, sequence, head, shape.qk_dim, k);
    const auto values = head_of(shape, sequence, head, shape.v_dim, v);
    const auto douts = head_of(shape, sequence, head, shape.v_dim, dout);
    const auto sums = head_of(shape, sequence, head, 1, lse);
    const auto deltas = head_of(shape, sequence, head, 1, delta);
    const auto dqueries = head_of(shape, sequence, head, shape.qk_dim, dq);
    const auto dkeys = head_of(shape, sequence, head, shape.qk_dim, dk);
    const auto dvalues = head_of(shape, sequence, head, shape.v_dim, dv);
    for_each_block(shape.length, [&](std::int64_t first, std::int64_t rows, std::int64_t seen) {
      gemm_nt<T>({rows, seen, shape.qk_dim}, queries.row(first), queries.stride, keys.data,
                 keys.stride, scores.get(), seen, false);
      gemm_nt<T>({rows, seen, shape.v_dim}, douts.row(first), douts.stride, values.data,
                 values.stride, dscores.get(), seen, false);
      for (std::int64_t row = 0; row < rows; ++row) {
        T* p = scores.get() + row * seen;
        T* ds = dscores.get() + row * seen;
        const std::int64_t visible = first + row + 1;
        exp_row(p, visible, factor, *sums.row(first + row));
        const T d = *deltas.row(first + row);
        for (std::int64_t key = 0; key < visible; ++key) ds[key] = p[key] * (ds[key] - d) * factor;
        round_row<T, Operand>(p, visible);
        round_row<T, Operand>(ds, visible);
        std::fill(p + visible, p + seen, T(0));
        std::fill(ds + visible, ds + seen, T(0));
      }
      gemm_tn<T>({seen, shape.v_dim, rows}, scores.get(), seen, douts.row(first), douts.stride,
                 dvalues.data, dvalues.stride, true);
      gemm_nn<T>({rows, shape.qk_dim, seen}, dscores.get(), seen, keys.data, keys.stride,
                 dqueries.row(first), dqueries.stride, false);
      gemm_tn<T>({seen, shape.qk_dim, rows}, dscores.get(), seen, queries.row(first),
                 queries.stride, dkeys.data, dkeys.stride, true);
    });
  });
}

template decltype(attention_forward<float>) attention_forward<float>;
template decltype(attention_forward<float, Bf16>) attention_forward<float, Bf16>;
template decltype(attention_forward<double>) attention_forward<double>;
template decltype(attention_forward<Dual>) attention_forward<Dual>;
template decltype(attention_backward_delta<float>) attention_backward_delta<float>;
template decltype(attention_backward_delta<double>) attention_backward_delta<double>;
template decltype(attention_backward_delta<Dual>) attention_backward_delta<Dual>;
template decltype(attention_backward<float>) attention_backward<float>;
template decltype(attention_backward<float, Bf16>) attention_backward<float, Bf16>;
template decltype(attention_backward<double>) attention_backward<double>;
template decltype(attention_backward<Dual>) attention_backward<Dual>;

}  // namespace orrery::kernels
