#pragma once
// One operation of a group of ranks as a call, for transports that can carry it out as a whole
// (NCCL's collectives) instead of as messages between its members (realrun/collectives.hpp).
//
// Memory: all spans are host memory. A channel over GPUs copies them to its device and back; once
// kernels compute on GPUs, a call will say in which memory its spans lie.
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace orrery {

enum class ElementType { kByte, kInt64, kFloat, kDouble };

struct GroupCall {
  enum class Kind {
    kAllReduce,      // out = sum of the members' in; both as long; may be the same memory
    kAllGather,      // out = the members' in, in their order; in may be its part of out
    kReduceScatter,  // out = this member's part of the sum of the members' in
    kAllToAll,       // from_each[m] = member m's to_each[place]; what is empty does not travel
  };
  Kind kind = Kind::kAllReduce;
  ElementType element = ElementType::kByte;
  std::vector<int> ranks;  // members, in their order
  std::string label;       // for messages: "all-reduce of 1024 float, 4 ranks: loss"
  std::span<const std::byte> in;
  std::span<std::byte> out;
  // By member, of an all-to-all alone; the entries of this rank itself are empty.
  std::vector<std::span<const std::byte>> to_each;
  std::vector<std::span<std::byte>> from_each;
};

}  // namespace orrery
