#include "kernels/exchange_map.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

namespace orrery::kernels {
namespace {

// visit(token, destination): token by token, the destinations of one in the order of its choices.
template <class Visit>
void for_each_sent(const ExchangeShape& shape, const std::int32_t* experts_of_token, Visit visit) {
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    const std::int32_t* choices = experts_of_token + token * shape.slots;
    for (std::int32_t slot = 0; slot < shape.slots; ++slot) {
      const std::int32_t destination = new_destination(shape, choices, slot);
      if (destination >= 0) visit(token, destination);
    }
  }
}

}  // namespace

void count_sent(const ExchangeShape& shape, const std::int32_t* experts_of_token,
                std::int64_t* offsets) {
  std::fill_n(offsets, shape.destinations + 1, 0);
  for_each_sent(shape, experts_of_token,
                [&](std::int64_t, std::int32_t destination) { ++offsets[destination + 1]; });
  std::partial_sum(offsets, offsets + shape.destinations + 1, offsets);
}

void list_sent(const ExchangeShape& shape, const std::int32_t* experts_of_token,
               const std::int64_t* offsets, std::int32_t* token_of_sent) {
  std::vector<std::int64_t> next(offsets, offsets + shape.destinations);
  for_each_sent(shape, experts_of_token, [&](std::int64_t token, std::int32_t destination) {
    token_of_sent[next[static_cast<std::size_t>(destination)]++] = static_cast<std::int32_t>(token);
  });
}

void map_exchange(const ExchangeShape& shape, const std::int32_t* experts_of_token,
                  std::int32_t* destination_of, std::int32_t* row_of) {
  std::fill_n(destination_of, shape.tokens * shape.slots, -1);
  std::fill_n(row_of, shape.tokens * shape.slots, -1);
  std::vector<std::int32_t> next(static_cast<std::size_t>(shape.destinations), 0);
  for_each_sent(shape, experts_of_token, [&](std::int64_t token, std::int32_t destination) {
    const std::int64_t first = token * shape.slots;
    const std::int64_t at =
        first + destinations_below(shape, experts_of_token + first, destination);
    destination_of[at] = destination;
    row_of[at] = next[static_cast<std::size_t>(destination)]++;
  });
}

}  // namespace orrery::kernels
