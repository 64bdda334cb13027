// What kernels/cuda/attention.cpp has cuDNN do, query by query, in double; p and ds rounded to BF16
// as operands of products.
#include "kernels/cuda/attention.hpp"

#include <cudnn.h>

#include <cmath>

#include "kernels/cuda/device.cuh"

std::size_t cudnnGetVersion() {
  return 0;  // none
}

namespace orrery::cuda {
namespace {

using Values = std::vector<double>;

// The rows of one query or key of one head, [tokens][heads][width].
struct Heads {
  const kernels::AttentionShape& s;

  std::int64_t at(std::int64_t sequence, std::int64_t head, std::int64_t token,
                  std::int64_t width) const {
    return ((sequence * s.length + token) * s.heads + head) * width;
  }
  // Of a sum of a row, [sequences][heads][length].
  std::int64_t sum_at(std::int64_t sequence, std::int64_t head, std::int64_t token) const {
    return (sequence * s.heads + head) * s.length + token;
  }
};

double product(std::int64_t n, const Bf16* a, const Bf16* b) {
  double sum = 0;
  for (std::int64_t at = 0; at < n; ++at)
    sum +=
        static_cast<double>(__bfloat162float(a[at])) * static_cast<double>(__bfloat162float(b[at]));
  return sum;
}

void add(double factor, std::int64_t n, const Bf16* from, double* to) {
  for (std::int64_t at = 0; at < n; ++at)
    to[at] += factor * static_cast<double>(__bfloat162float(from[at]));
}

double rounded(double value) {
  return static_cast<double>(__bfloat162float(__float2bfloat16(static_cast<float>(value))));
}

void store(const Values& values, Bf16* to) {
  for (const double value : values) *to++ = __float2bfloat16(static_cast<float>(value));
}

// Calls each(sequence, head, query).
template <class Each>
void for_queries(const kernels::AttentionShape& s, const Each& each) {
  for (std::int64_t sequence = 0; sequence < s.sequences; ++sequence) {
    for (std::int64_t head = 0; head < s.heads; ++head) {
      for (std::int64_t query = 0; query < s.length; ++query) each(sequence, head, query);
    }
  }
}

}  // namespace

CudnnLibrary::CudnnLibrary() = default;
CudnnLibrary::~CudnnLibrary() = default;

struct AttentionForward::Graph {
  kernels::AttentionShape shape;
  double scale = 1;
};
AttentionForward::AttentionForward(const CudnnLibrary&, const kernels::AttentionShape& shape,
                                   float scale)
    : graph_(new Graph{shape, static_cast<double>(scale)}) {}
AttentionForward::~AttentionForward() = default;

void AttentionForward::run(const Bf16* q, const Bf16* k, const Bf16* v, Bf16* out, float* lse,
                           Stream) const {
  const kernels::AttentionShape& s = graph_->shape;
  const Heads heads{s};
  for_queries(s, [&](std::int64_t sequence, std::int64_t head, std::int64_t query) {
    Values p;
    double largest = -INFINITY, sum = 0;
    for (std::int64_t key = 0; key <= query; ++key) {
      p.push_back(graph_->scale * product(s.qk_dim, q + heads.at(sequence, head, query, s.qk_dim),
                                          k + heads.at(sequence, head, key, s.qk_dim)));
      largest = std::fmax(largest, p.back());
    }
    for (double& each : p) sum += each = std::exp(each - largest);
    Values own(static_cast<std::size_t>(s.v_dim), 0);
    for (std::int64_t key = 0; key <= query; ++key)
      add(rounded(p[static_cast<std::size_t>(key)]) / sum, s.v_dim,
          v + heads.at(sequence, head, key, s.v_dim), own.data());
    store(own, out + heads.at(sequence, head, query, s.v_dim));
    lse[heads.sum_at(sequence, head, query)] = static_cast<float>(largest + std::log(sum));
  });
}

struct AttentionBackward::Graph {
  kernels::AttentionShape shape;
  double scale = 1;
};
AttentionBackward::AttentionBackward(const CudnnLibrary&, const kernels::AttentionShape& shape,
                                     float scale)
    : graph_(new Graph{shape, static_cast<double>(scale)}) {}
AttentionBackward::~AttentionBackward() = default;

void AttentionBackward::run(const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* out,
                            const Bf16* dout, const float* lse, Bf16* dq, Bf16* dk, Bf16* dv,
                            Stream) const {
  const kernels::AttentionShape& s = graph_->shape;
  const Heads heads{s};
  const auto rows = static_cast<std::size_t>(s.tokens() * s.heads);
  Values query_sum(rows * static_cast<std::size_t>(s.qk_dim), 0),
      key_sum = query_sum, value_sum(rows * static_cast<std::size_t>(s.v_dim), 0);
  for_queries(s, [&](std::int64_t sequence, std::int64_t head, std::int64_t query) {
    const std::int64_t wide = heads.at(sequence, head, query, s.qk_dim),
                       narrow = heads.at(sequence, head, query, s.v_dim);
    const double delta = product(s.v_dim, out + narrow, dout + narrow);
    for (std::int64_t key = 0; key <= query; ++key) {
      const std::int64_t key_wide = heads.at(sequence, head, key, s.qk_dim),
                         key_narrow = heads.at(sequence, head, key, s.v_dim);
      const double p = std::exp(graph_->scale * product(s.qk_dim, q + wide, k + key_wide) -
                                static_cast<double>(lse[heads.sum_at(sequence, head, query)]));
      const double ds =
          graph_->scale * p * (product(s.v_dim, dout + narrow, v + key_narrow) - delta);
      add(rounded(p), s.v_dim, dout + narrow, value_sum.data() + key_narrow);
      add(rounded(ds), s.qk_dim, k + key_wide, query_sum.data() + wide);
      add(rounded(ds), s.qk_dim, q + wide, key_sum.data() + key_wide);
    }
  });
  store(query_sum, dq);
  store(key_sum, dk);
  store(value_sum, dv);
}

}  // namespace orrery::cuda
