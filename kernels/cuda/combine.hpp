#pragma once
// Adds up what the destinations of each token made of it, along the ExchangeMap by which the token
// went there (kernels/cuda/dispatch.hpp, which it reverses and whose adjoint it is):
//
//   out[token] = sum over its destinations, in their order, of from[destination][row there]
//
//   combine                output rows of the experts
//   gradient of dispatch   input gradients, and the gradients of the routing weights
//
// without weights: they are part of what an expert puts out (its SwiGLU multiplies by them), and a
// destination adds up its own experts (reduce_rows) before. A token without a destination gets
// zeros. Rows are BF16, sums float and rounded once, in one order whatever `ctas` is.
//
// `from` is a table of addresses: of the destinations' buffers where their memory is mapped, and of
// buffers here into which a NIC has put them. In two hops a node first adds up what its ranks
// return of the tokens that it was sent, rounds, and the token's GPU adds up nodes (DeepSeek-V3
// report, section 3.2.2). The caller sees to it that all destinations have written before.
#include "kernels/cuda/exchange_map.hpp"

namespace orrery::cuda {

struct ReturnedRows {
  std::int64_t hidden = 0;            // a multiple of 8
  const Bf16* const* from = nullptr;  // [destinations] in device memory: each [rows][hidden]
  Bf16* out = nullptr;                // [tokens][hidden]
};

// Columns 0: nothing but rows returns.
struct ReturnedWeights {
  std::int64_t columns = 0;
  const float* const* from = nullptr;  // [destinations] in device memory: each [rows][columns]
  float* out = nullptr;                // [tokens][columns]
};

// On exactly `ctas` SMs. Error: more than 32 slots, ctas below 1, hidden no multiple of 8.
void combine(const ExchangeMap& map, const ReturnedRows& rows, const ReturnedWeights& weights,
             const ExchangeLink& link, int ctas, Stream stream);

}  // namespace orrery::cuda
