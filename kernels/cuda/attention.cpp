#include "kernels/cuda/attention.hpp"

#include <limits>

#include "kernels/cuda/cudnn_graph.cuh"

namespace orrery::cuda {
namespace {

using Tensor = CudnnGraph::Tensor;
using Sizes = CudnnGraph::Sizes;
using Kind = CudnnGraph::Kind;
using Pointwise = CudnnGraph::Pointwise;
constexpr auto kFloat = CUDNN_DATA_FLOAT;
constexpr auto kBf16 = CUDNN_DATA_BFLOAT16;

// Values that the graphs take by value.
struct Constants {
  float scale = 1;
  float masked = -std::numeric_limits<float>::infinity();
  float one = 1;
};

// Tensors of [sequences, heads, length, dim] over token-major storage, and scores [.., length,
// length].
class Shapes {
 public:
  Shapes(CudnnGraph& graph, const kernels::AttentionShape& shape) : graph_(graph), s_(shape) {}

  Tensor of_tokens(std::int64_t dim, cudnnDataType_t type = kBf16, Kind kind = Kind::kReal) {
    return graph_.tensor(type, {s_.sequences, s_.heads, s_.length, dim},
                         {s_.length * s_.heads * dim, dim, s_.heads * dim, 1}, kind);
  }
  // The same storage with rows and columns of a head exchanged.
  Tensor transposed(std::int64_t dim) {
    return graph_.tensor(kBf16, {s_.sequences, s_.heads, dim, s_.length},
                         {s_.length * s_.heads * dim, dim, 1, s_.heads * dim});
  }
  Tensor by_head(std::int64_t dim, Kind kind = Kind::kReal) {
    return graph_.tensor(kFloat, {s_.sequences, s_.heads, s_.length, dim},
                         {s_.heads * s_.length * dim, s_.length * dim, dim, 1}, kind);
  }
  Tensor of_rows(Kind kind = Kind::kReal) { return by_head(1, kind); }
  Tensor scores(cudnnDataType_t type = kFloat) {
    return graph_.tensor(type, score_sizes(),
                         {s_.heads * s_.length * s_.length, s_.length * s_.length, s_.length, 1},
                         Kind::kVirtual);
  }
  Tensor scores_transposed() {
    return graph_.tensor(kBf16, score_sizes(),
                         {s_.heads * s_.length * s_.length, s_.length * s_.length, 1, s_.length},
                         Kind::kVirtual);
  }
  Tensor by_value() { return graph_.tensor(kFloat, {1, 1, 1, 1}, {1, 1, 1, 1}, Kind::kByValue); }

  // x where the key is not later than the query, `masked` elsewhere.
  Tensor causal(const Tensor& x, const Tensor& masked) {
    const Tensor row = scores(CUDNN_DATA_INT32), column = scores(CUDNN_DATA_INT32);
    const Tensor seen = scores(CUDNN_DATA_BOOLEAN), y = scores();
    graph_.pointwise({CUDNN_POINTWISE_GEN_INDEX, {}, {}, 2}, x, row);
    graph_.pointwise({CUDNN_POINTWISE_GEN_INDEX, {}, {}, 3}, x, column);
    graph_.pointwise({CUDNN_POINTWISE_CMP_GE, column, {}, -1, CUDNN_DATA_BOOLEAN}, row, seen);
    graph_.pointwise({CUDNN_POINTWISE_BINARY_SELECT, masked, seen}, x, y);
    return y;
  }

 private:
  Sizes score_sizes() const { return {s_.sequences, s_.heads, s_.length, s_.length}; }

  CudnnGraph& graph_;
  const kernels::AttentionShape s_;
};

struct ForwardTensors {
  Tensor q = {}, k = {}, v = {}, out = {}, lse = {}, scale = {}, masked = {};
};
ForwardTensors describe_forward(CudnnGraph& g, const kernels::AttentionShape& shape) {
  Shapes make(g, shape);
  ForwardTensors own;
  own.scale = make.by_value();
  own.masked = make.by_value();
  own.q = make.of_tokens(shape.qk_dim);
  own.k = make.transposed(shape.qk_dim);
  own.v = make.of_tokens(shape.v_dim);
  own.out = make.of_tokens(shape.v_dim);
  own.lse = make.of_rows();
  const Tensor products = make.scores(), scaled = make.scores();
  g.matmul(own.q, own.k, products);
  g.pointwise({CUDNN_POINTWISE_MUL, own.scale}, products, scaled);
  const Tensor seen = make.causal(scaled, own.masked);
  const Tensor largest = make.of_rows(Kind::kVirtual), sum = make.of_rows(Kind::kVirtual);
  const Tensor log = make.of_rows(Kind::kVirtual);
  const Tensor shifted = make.scores(), exponentials = make.scores(), p = make.scores(kBf16);
  g.reduce(CUDNN_REDUCE_TENSOR_MAX, seen, largest);
  g.pointwise({CUDNN_POINTWISE_SUB, largest}, seen, shifted);
  g.pointwise({CUDNN_POINTWISE_EXP}, shifted, exponentials);
  g.reduce(CUDNN_REDUCE_TENSOR_ADD, exponentials, sum);
  g.pointwise({CUDNN_POINTWISE_LOG}, sum, log);
  g.pointwise({CUDNN_POINTWISE_ADD, log}, largest, own.lse);
  g.pointwise({CUDNN_POINTWISE_DIV, sum}, exponentials, p);
  g.matmul(p, own.v, own.out);
  return own;
}

struct BackwardTensors {
  Tensor q = {}, k = {}, v = {}, out = {}, dout = {}, lse = {}, dq = {}, dk = {}, dv = {};
  Tensor scale = {}, masked = {}, one = {}, delta = {}, dq_sum = {};
};
BackwardTensors describe_backward(CudnnGraph& g, const kernels::AttentionShape& shape) {
  Shapes make(g, shape);
  BackwardTensors own;
  own.scale = make.by_value();
  own.masked = make.by_value();
  own.one = make.by_value();
  own.q = make.of_tokens(shape.qk_dim);
  own.k = make.transposed(shape.qk_dim);
  own.v = make.transposed(shape.v_dim);
  own.out = make.of_tokens(shape.v_dim);
  own.dout = make.of_tokens(shape.v_dim);
  own.lse = make.of_rows();
  own.dq = make.of_tokens(shape.qk_dim);
  own.dk = make.of_tokens(shape.qk_dim);
  own.dv = make.of_tokens(shape.v_dim);
  own.delta = make.of_rows();
  own.dq_sum = make.by_head(shape.qk_dim);

  // delta = row sums of dout * out; the factor one is where a dropout's would be.
  const Tensor both = make.by_head(shape.v_dim, Kind::kVirtual);
  const Tensor sums = make.of_rows(Kind::kVirtual);
  g.pointwise({CUDNN_POINTWISE_MUL, own.out}, own.dout, both);
  g.reduce(CUDNN_REDUCE_TENSOR_ADD, both, sums);
  g.pointwise({CUDNN_POINTWISE_MUL, own.one}, sums, own.delta);
  // p = exp(scale q k^T - lse) where the key is seen, and dv = p^T dout
  const Tensor products = make.scores(), scaled = make.scores(), shifted = make.scores();
  g.matmul(own.q, own.k, products);
  g.pointwise({CUDNN_POINTWISE_MUL, own.scale}, products, scaled);
  g.pointwise({CUDNN_POINTWISE_SUB, own.lse}, scaled, shifted);
  const Tensor seen = make.causal(shifted, own.masked), p = make.scores();
  g.pointwise({CUDNN_POINTWISE_EXP}, seen, p);
  const Tensor p_transposed = make.scores_transposed();
  g.reshape(p, p_transposed);
  g.matmul(p_transposed, own.dout, own.dv);
  // ds = p * (dout v^T - delta) * scale
  const Tensor dp = make.scores(), centred = make.scores(), weighted = make.scores();
  const Tensor ds = make.scores();
  g.matmul(own.dout, own.v, dp);
  g.pointwise({CUDNN_POINTWISE_SUB, own.delta}, dp, centred);
  g.pointwise({CUDNN_POINTWISE_MUL, p}, centred, weighted);
  g.pointwise({CUDNN_POINTWISE_MUL, own.scale}, weighted, ds);
  // dk = ds^T q, dq = ds k
  const Tensor ds_transposed = make.scores_transposed();
  g.reshape(ds, ds_transposed);
  g.matmul(ds_transposed, own.q, own.dk);
  const Tensor k_rows = make.of_tokens(shape.qk_dim, kFloat, Kind::kVirtual);
  g.reshape(own.k, k_rows);
  g.matmul(ds, k_rows, own.dq_sum);
  g.pointwise({CUDNN_POINTWISE_IDENTITY}, own.dq_sum, own.dq);
  return own;
}

}  // namespace

CudnnLibrary::CudnnLibrary() {
  check_cudnn(cudnnCreate(&handle_), "cudnnCreate");
}
CudnnLibrary::~CudnnLibrary() {
  cudnnDestroy(handle_);
}

struct AttentionForward::Graph {
  const CudnnLibrary& library;
  Constants constants;
  CudnnGraph graph = {};
  ForwardTensors of = {};
  std::unique_ptr<Device<char>> workspace = nullptr;
};

AttentionForward::AttentionForward(const CudnnLibrary& library,
                                   const kernels::AttentionShape& shape, float scale)
    : graph_(new Graph{library, {scale}}) {
  Graph& own = *graph_;
  own.of = describe_forward(own.graph, shape);
  own.graph.build(library.handle());
  own.workspace =
      std::make_unique<Device<char>>(static_cast<std::size_t>(own.graph.workspace_bytes()) + 1);
}

AttentionForward::~AttentionForward() = default;

void AttentionForward::run(const Bf16* q, const Bf16* k, const Bf16* v, Bf16* out, float* lse,
                           cudaStream_t stream) const {
  const Graph& own = *graph_;
  own.graph.run(own.library.handle(),
                {{own.of.q.id, q},
                 {own.of.k.id, k},
                 {own.of.v.id, v},
                 {own.of.out.id, out},
                 {own.of.lse.id, lse},
                 {own.of.scale.id, &own.constants.scale},
                 {own.of.masked.id, &own.constants.masked}},
                own.workspace->get(), stream);
}

struct AttentionBackward::Graph {
  const CudnnLibrary& library;
  Constants constants;
  CudnnGraph graph = {};
  BackwardTensors of = {};
  std::unique_ptr<Device<char>> workspace = nullptr;
  std::unique_ptr<Device<float>> delta_data = nullptr, dq_sum_data = nullptr;
  std::size_t dq_sums = 0;  // elements
};

AttentionBackward::AttentionBackward(const CudnnLibrary& library,
                                     const kernels::AttentionShape& shape, float scale)
    : graph_(new Graph{library, {scale}}) {
  Graph& own = *graph_;
  own.of = describe_backward(own.graph, shape);
  own.graph.build(library.handle());
  const auto rows = static_cast<std::size_t>(shape.tokens() * shape.heads);
  own.workspace =
      std::make_unique<Device<char>>(static_cast<std::size_t>(own.graph.workspace_bytes()) + 1);
  own.delta_data = std::make_unique<Device<float>>(rows);
  own.dq_sums = rows * static_cast<std::size_t>(shape.qk_dim);
  own.dq_sum_data = std::make_unique<Device<float>>(own.dq_sums);
}

AttentionBackward::~AttentionBackward() = default;

void AttentionBackward::run(const Bf16* q, const Bf16* k, const Bf16* v, const Bf16* out,
                            const Bf16* dout, const float* lse, Bf16* dq, Bf16* dk, Bf16* dv,
                            cudaStream_t stream) const {
  const Graph& own = *graph_;
  // Blocks add to it.
  check(cudaMemsetAsync(own.dq_sum_data->get(), 0, own.dq_sums * sizeof(float), stream),
        "attention backward: clearing the sum of dq");
  own.graph.run(own.library.handle(),
                {{own.of.q.id, q},
                 {own.of.k.id, k},
                 {own.of.v.id, v},
                 {own.of.out.id, out},
                 {own.of.dout.id, dout},
                 {own.of.lse.id, lse},
                 {own.of.dq.id, dq},
                 {own.of.dk.id, dk},
                 {own.of.dv.id, dv},
                 {own.of.delta.id, own.delta_data->get()},
                 {own.of.dq_sum.id, own.dq_sum_data->get()},
                 {own.of.scale.id, &own.constants.scale},
                 {own.of.masked.id, &own.constants.masked},
                 {own.of.one.id, &own.constants.one}},
                own.workspace->get(), stream);
}

ProposedEngines attention_engines(const kernels::AttentionShape& shape, bool backward,
                                  const std::string& device) {
  CudnnGraph graph;
  if (backward) {
    describe_backward(graph, shape);
  } else {
    describe_forward(graph, shape);
  }
  return graph.engines_for(device);
}

}  // namespace orrery::cuda
