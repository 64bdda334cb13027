#pragma once
// Where a token of an expert-parallel exchange goes, as arithmetic on its choices alone: what the
// maps of the host (kernels/exchange_map.hpp) and of the device (kernels/cuda/exchange_map.hpp)
// have in common, compiled for both.
//
// A destination is a block of experts_each experts in a row, so one description does for
//
//   every rank of a group     experts_each = experts of a rank
//   every node of a group     experts_each = experts of a node; first of two hops
//   the ranks of one node     first_expert = the node's first, experts_each = those of a rank;
//                             second of two hops, of the tokens that the node received
//
// Two hops make a token cross the network once a node (DeepSeek-V3 report, section 3.2.2: at most 4
// nodes a token), however many ranks of that node have experts for it.
//
// Example: 4 destinations of 8 experts, a token choosing {25, 3, 30, 9}: destinations 0, 1 and 3,
// once each, in that order.
#include <cstdint>

#ifdef __CUDACC__
#define ORRERY_HOST_DEVICE __host__ __device__
#else
#define ORRERY_HOST_DEVICE
#endif

namespace orrery::kernels {

struct ExchangeShape {
  std::int64_t tokens = 0;        // of the GPU that sends
  std::int32_t slots = 0;         // choices a token; one that is not used is negative
  std::int32_t destinations = 0;  // at least 1
  std::int32_t first_expert = 0;  // number of the first destination's first expert
  std::int32_t experts_each = 1;  // of a destination
};

// Number of the destination that has the expert, -1 where none has.
ORRERY_HOST_DEVICE inline std::int32_t destination_of_expert(const ExchangeShape& shape,
                                                             std::int32_t expert) {
  if (expert < 0 || expert < shape.first_expert) return -1;
  const std::int32_t destination = (expert - shape.first_expert) / shape.experts_each;
  return destination < shape.destinations ? destination : -1;
}

// The destination of choice `slot`, -1 where there is none or an earlier choice goes there too.
// `choices` [slots] of one token.
ORRERY_HOST_DEVICE inline std::int32_t new_destination(const ExchangeShape& shape,
                                                       const std::int32_t* choices,
                                                       std::int32_t slot) {
  const std::int32_t destination = destination_of_expert(shape, choices[slot]);
  for (std::int32_t earlier = 0; earlier < slot; ++earlier) {
    if (destination_of_expert(shape, choices[earlier]) == destination) return -1;
  }
  return destination;
}

ORRERY_HOST_DEVICE inline bool goes_to(const ExchangeShape& shape, const std::int32_t* choices,
                                       std::int32_t destination) {
  for (std::int32_t slot = 0; slot < shape.slots; ++slot) {
    if (destination_of_expert(shape, choices[slot]) == destination) return true;
  }
  return false;
}

// How many destinations of the token have lower numbers: the place of this one in their order. With
// shape.destinations for `destination`: how many it has.
ORRERY_HOST_DEVICE inline std::int32_t destinations_below(const ExchangeShape& shape,
                                                          const std::int32_t* choices,
                                                          std::int32_t destination) {
  std::int32_t below = 0;
  for (std::int32_t slot = 0; slot < shape.slots; ++slot) {
    const std::int32_t other = new_destination(shape, choices, slot);
    below += other >= 0 && other < destination;
  }
  return below;
}

// Where the rows of member `source` begin among those that `receiver` gets, which lie in the order
// of the members; counts [members][members], rows of a source to a receiver. With `members` for
// `source`: how many the receiver gets.
ORRERY_HOST_DEVICE inline std::int32_t first_row_of(std::int32_t members,
                                                    const std::int32_t* counts, std::int32_t source,
                                                    std::int32_t receiver) {
  std::int32_t rows = 0;
  for (std::int32_t earlier = 0; earlier < source; ++earlier)
    rows += counts[earlier * members + receiver];
  return rows;
}

}  // namespace orrery::kernels
