#pragma once
// Causal multi-head attention on assembled queries, keys and values. Token t of a sequence attends
// to tokens 0 to t of the same sequence:
//
//   p = softmax(scale q k^T + mask),  out = p v,  lse = log of the row sums of exp(scale q k^T)
//
// Token-major, as the projections leave them; tokens = sequences * length, sequence after sequence:
//   q, k  [tokens][heads][qk_dim]      v, out  [tokens][heads][v_dim]      lse  [tokens][heads]
//
// The backward recomputes p from lse, so that no matrix of length x length is ever kept
// (FlashAttention-2: Dao 2023, arXiv 2307.08691, algorithm 2), in five products:
//
//   p = exp(scale q k^T - lse)           dv = p^T dout
//   ds = p * (dout v^T - delta) scale    dq = ds k     dk = ds^T q     delta = row sums of out *
//   dout
//
// A (sequence, head) is worked through in blocks of queries with the keys that they see, so the
// masked half is skipped but for the blocks on the diagonal. Scratch: forward 64, backward 128 rows
// of `length` elements.
//
// Heads are independent: for double and Dual the results of a head are bitwise the same whichever
// other heads and sequences are present, so sharding heads over ranks changes nothing. For float
// that holds as far as kernels/gemm.hpp promises it.
// `Operand` is what p and ds are rounded to as operands of a product: T itself, or Bf16 as a GPU's
// tensor cores take them (the sum of a row, and ds as the difference that it is, are of p as it
// was). Instantiated for float, double and Dual; for float with Bf16, too.
#include <cstdint>

namespace orrery::kernels {

struct AttentionShape {
  std::int64_t sequences = 0;
  std::int64_t length = 0;  // tokens of each sequence
  std::int64_t heads = 0;   // of this shard
  std::int64_t qk_dim = 0;
  std::int64_t v_dim = 0;

  std::int64_t tokens() const { return sequences * length; }
};

// Writes out and lse.
template <class T, class Operand = T>
void attention_forward(const AttentionShape& shape, double scale, const T* q, const T* k,
                       const T* v, T* out, T* lse);

// Writes delta [tokens][heads].
template <class T>
void attention_backward_delta(const AttentionShape& shape, const T* out, const T* dout, T* delta);

// Writes dq, dk and dv.
template <class T, class Operand = T>
void attention_backward(const AttentionShape& shape, double scale, const T* q, const T* k,
                        const T* v, const T* dout, const T* lse, const T* delta, T* dq, T* dk,
                        T* dv);

}  // namespace orrery::kernels
