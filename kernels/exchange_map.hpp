#pragma once
// Which tokens go where in an expert-parallel exchange, each once a destination, in the order of
// the tokens; kernels/exchange_index.hpp says what a destination is. Built once a micro-batch;
// dispatch, combine and the gradients of both go along it.
//
//   experts_of_token  [tokens][slots]       expert number in the whole model, negative: not used
//   offsets           [destinations + 1]    d gets the tokens offsets[d] up to offsets[d + 1] of
//   token_of_sent     [sent]                the list; sent = offsets[destinations]
//   destination_of    [tokens][slots]       destinations of a token, ascending, then -1
//   row_of            [tokens][slots]       number of its row among those sent there, then -1
//
// What comes back for a token is added up in the order of destination_of, which is that of the
// group, so every sum has one order.
//
// Example: destinations of 2 experts, tokens choosing {3, 1}, {2, 3}: offsets 0 1 3, token_of_sent
// 0 0 1, destination_of {0, 1}, {1, -1}, row_of {0, 0}, {1, -1}.
#include "kernels/exchange_index.hpp"

namespace orrery::kernels {

// Writes offsets.
void count_sent(const ExchangeShape& shape, const std::int32_t* experts_of_token,
                std::int64_t* offsets);

// Writes token_of_sent.
void list_sent(const ExchangeShape& shape, const std::int32_t* experts_of_token,
               const std::int64_t* offsets, std::int32_t* token_of_sent);

// Writes destination_of and row_of.
void map_exchange(const ExchangeShape& shape, const std::int32_t* experts_of_token,
                  std::int32_t* destination_of, std::int32_t* row_of);

}  // namespace orrery::kernels
