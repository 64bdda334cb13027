#pragma once
// Sends the rows of this GPU's tokens to all that need them, along an ExchangeMap: a token's row is
// read once and written once for each of its destinations, however many of its experts are there.
//
//   dispatch              x in BF16, or E4M3 codes and their scales; routing weights and choices
//   gradient of combine   the tokens' output gradients alone: what goes where is known
//
// `to` is a table of addresses. Where the receiver's memory is mapped (the same GPU, NVLink) they
// are those of its buffers; for a NIC, of buffers here of which each destination has one. So an
// exchange in two hops is two calls: to the nodes, then of what came to the ranks of a node.
//
// It runs on exactly `ctas` SMs, which it keeps to itself, and leaves the others to products
// (DeepSeek-V3 report, section 3.2.2: 20 of 132 SMs, in warps of their own for each task, which
// DeepEP, deepseek-ai/DeepEP on GitHub, shows in public). What it writes does not depend on `ctas`.
// The caller sees to it that receivers read only after all senders have ended.
//
// Example, 1 x 128 scales as quantise_rows leaves them, [hidden / 128][scale_stride(tokens)]; they
// arrive [rows][hidden / 128]:
//   const SentRows arrays[] = {{hidden, codes, codes_of_receiver},
//                              {hidden / 128 * 4, scales, scales_of_receiver,
//                              scale_stride(tokens)}};
//   dispatch(map, arrays, {}, 20, stream);
#include <span>

#include "kernels/cuda/exchange_map.hpp"

namespace orrery::cuda {

// An array of which each token's row is sent. Rows of a multiple of 16 bytes that lie together go
// fastest; all addresses are then multiples of 16, and of 4 otherwise.
struct SentRows {
  std::int64_t bytes = 0;      // of a row, a multiple of 4
  const void* from = nullptr;  // [tokens][bytes]
  void* const* to = nullptr;   // [destinations] in device memory: each [rows][bytes]
  // Not 0: `from` is [bytes / 4][stride] instead, words of 4 bytes, a token a column.
  std::int64_t stride = 0;
};

inline constexpr int kMostSentArrays = 4;

// Error: more arrays or slots than there is room for, ctas below 1, bytes no multiple of 4.
void dispatch(const ExchangeMap& map, std::span<const SentRows> arrays, const ExchangeLink& link,
              int ctas, Stream stream);

}  // namespace orrery::cuda
