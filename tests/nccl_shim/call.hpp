#pragma once
// One NCCL call as the two sides of a link compare it.
#include <cstddef>
#include <cstdint>
#include <string>

namespace orrery_shim {

enum class Function : std::int32_t { kSend, kRecv, kAllReduce, kReduceScatter, kAllGather };

// What is sent ahead of the data. `number` counts the calls on the communicator, from 1.
struct Call {
  Function function = Function::kSend;
  std::int32_t type = 0;       // ncclDataType_t
  std::int32_t reduction = 0;  // ncclRedOp_t; 0 where nothing is reduced
  std::int32_t rank = 0;       // of the caller
  std::uint64_t count = 0;     // elements, as given to the call
  std::uint64_t number = 0;
};

// Bytes of an element; 0 for a type that the shim does not know.
std::size_t type_bytes(int type);
// "rank 1's call 3: ncclAllReduce of 4 float32".
std::string call_text(const Call& call);
// Empty if the data of `theirs` is what `ours` takes: the same collective, or a send met by its
// receive, of the same type and count; else what differs.
std::string disagreement(const Call& theirs, const Call& ours);

}  // namespace orrery_shim
