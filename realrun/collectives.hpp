#pragma once
// The operations of groups of ranks that a run needs (realrun/group_operation.hpp).
//
// Determinism: sums are taken over the members in group order, member 0 first, whatever arrives
// first: s = ((v0 + v1) + v2) + ... So the result is bitwise that of the serial loop and the same
// on every member.
//
// Where the transport carries whole groups (Transport::carries, NCCL), sums are in its own order.
//
// Cost: n members, v bytes a member: each member sends and receives (n - 1) v in AllGather and
// AllToAllBytes, the shards of the others in ReduceScatter, 2 v (n - 1) / n in AllReduce.
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "realrun/group_operation.hpp"

namespace orrery {

// Each member gives bytes to each; the sizes are unknown to the receivers. Phase 0 tells the sizes
// (8 bytes), phase 1 carries what is not empty. What a member gives itself is passed on as it is.
class AllToAllBytes final : public GroupOperation {
 public:
  // to_each[member]
  AllToAllBytes(Transport& transport, Group group, OperationName name,
                std::vector<std::vector<std::byte>> to_each);

  std::size_t pending_work() override;
  // By member; once, when finished.
  std::vector<std::vector<std::byte>> take_received();

 private:
  bool step() override;

  std::vector<std::vector<std::byte>> to_each_;
  std::vector<std::vector<std::byte>> received_;
  std::vector<std::int64_t> sizes_out_;
  std::vector<std::int64_t> sizes_in_;
  std::vector<char> has_room_;  // by member: its size is known and its bytes have somewhere to go
  bool carried_ = false;
};

// Elements [begin, begin + count) of the whole.
struct Slice {
  std::size_t begin = 0;
  std::size_t count = 0;
};

// The whole divided into `members` consecutive shards, the first ones one element longer where it
// does not divide.
std::vector<Slice> even_shards(std::size_t elements, int members);

// T of the following is float, double or std::int64_t.

// Every member's `own` ends in `all` of every member, at its shard. `own` may lie in `all` at its
// shard already.
template <class T>
class AllGather final : public GroupOperation {
 public:
  // Equal counts: member m at m * own.size().
  AllGather(Transport& transport, Group group, OperationName name, std::span<const T> own,
            std::span<T> all);
  // shards[member], equal on all members; own.size() == shards[place].count.
  AllGather(Transport& transport, Group group, OperationName name, std::span<const T> own,
            std::span<T> all, std::span<const Slice> shards);

  std::size_t pending_work() override;

 private:
  bool step() override;

  std::span<const T> own_;
  std::span<T> place_of_own_;  // in `all`; empty once it holds `own`
  std::span<T> all_;           // where the transport carries the call
};

// own = sum over members of their full[shards[place]]. `own` may be that part of `full`; `full` is
// otherwise only read. shards[member] are equal on all members and disjoint; gaps are allowed.
template <class T>
class ReduceScatter final : public GroupOperation {
 public:
  ReduceScatter(Transport& transport, Group group, OperationName name, std::span<const T> full,
                std::span<const Slice> shards, std::span<T> own);

  std::size_t pending_work() override;

 private:
  bool step() override;

  std::span<const T> contribution_;  // this member's, to its own shard
  std::span<T> own_;
  std::vector<T> slices_;  // of the others, in group order
  bool summed_ = false;
  std::span<const T> full_;  // where the transport carries the call
};

// values = sum over members of their values, in place. Up to kGatherAllBytes everything goes to
// everyone, who sums it: one exchange. Above, reduce-scatter and all-gather of even shards.
template <class T>
class AllReduce final : public GroupOperation {
 public:
  AllReduce(Transport& transport, Group group, OperationName name, std::span<T> values);

  std::size_t pending_work() override;

  static constexpr std::size_t kGatherAllBytes = 4096;

 private:
  bool step() override;
  // Elements that this member sums: all of them, or its shard.
  std::span<T> summed_part();

  std::span<T> values_;
  std::vector<Slice> shards_;  // empty: everything goes to everyone
  std::vector<T> slices_;      // of the others, in group order
  bool summed_ = false;
  bool carried_ = false;
};

}  // namespace orrery
