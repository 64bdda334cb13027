#pragma once
// Which rows of this GPU's tokens go where, on the device: the twin of kernels/exchange_map.hpp,
// integer for integer (kernels/exchange_index.hpp has the formulas), for dispatch.hpp and
// combine.hpp. Every pointer is to device memory.
//
//   experts_of_token          [tokens][slots]     as the router chose; negative: not used
//   destination_of, row_of    [tokens][slots]     destinations of a token, ascending, and the
//   number
//                                                 of its row among those sent there; then -1
//   counts                    [members][members]  rows of a source (outer) to a receiver
//   first_row                 [members]           where this member's rows begin at each receiver
//
// A receiver's rows lie in the order of the members, then of the tokens, so a member has to know
// how many the others send: each writes its line of `counts` into the memory of all. When all have,
// and the caller has seen to it that they have (on one GPU: the order of a stream), first_rows adds
// up.
//
// Example, a group of 64 ranks with 4 experts each, of which this is rank 5:
//   map_exchange({4096, 8, 64, 0, 4}, choice, 5, counts_of_member, destination_of, row_of, stream);
//   ... all ranks have done so ...
//   first_rows(64, 5, counts, first_row, stream);
#include <cstdint>

#include "kernels/cuda/types.hpp"
#include "kernels/exchange_index.hpp"

namespace orrery::cuda {

inline constexpr int kMostExchangeSlots = 32;

// What dispatch and combine go by. `first_row` nullptr: every list begins at row 0, as in buffers
// of its own for each destination, from which a NIC sends.
struct ExchangeMap {
  std::int64_t tokens = 0;
  int slots = 0;
  const std::int32_t* destination_of = nullptr;
  const std::int32_t* row_of = nullptr;
  const std::int32_t* first_row = nullptr;
};

// No faster than a link of so many bytes a second, by the GPU's own timer: stands in for a NIC or
// for NVLink where the other end is in the same memory. Rows of destination `own` do not cross it.
// Rate 0: as fast as it goes.
struct ExchangeLink {
  double rate = 0;
  int own = -1;
};

// Writes destination_of, row_of and line `own` of the matrix of every member: counts_of_member
// [destinations], the addresses of `counts` where each keeps it. Error: more than 32 slots.
void map_exchange(const kernels::ExchangeShape& shape, const std::int32_t* experts_of_token,
                  int own, std::int32_t* const* counts_of_member, std::int32_t* destination_of,
                  std::int32_t* row_of, Stream stream);

// Writes first_row of member `own`.
void first_rows(int members, int own, const std::int32_t* counts, std::int32_t* first_row,
                Stream stream);

}  // namespace orrery::cuda
