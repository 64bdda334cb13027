#pragma once
// Operations of a group of ranks, as state machines that the communication worker advances; none
// of them ever blocks. The constructor posts what can be posted; then
//
//   while (!operation.advance()) { ... transport.move(), transport.wait(seen) ... }
//
// with advance() called again after events of the transport. advance() sums and allocates, which
// costs CPU time: where pending_work() > 0 the caller takes a core first.
//
// Determinism: sums are taken over the members in group order, member 0 first, whatever arrives
// first: s = ((v0 + v1) + v2) + ... So the result is bitwise that of the serial loop and the same
// on every member.
//
// Tags: tag = kGroupTags + 8 * base + phase, phase 0 for the first messages of every kind of
// operation and 1 for the second. `base` (0 <= base < 2^57) numbers the operations of a run. Two
// operations may share it if no two ranks are in both, or if all members start them in the same
// order. That every kind starts with phase 0 is on purpose: where two members call different kinds,
// element types, names or sizes under one base, their first messages meet, their labels differ
// ("all-reduce of 1024 float, 4 ranks: loss") and both get a TransportError that names both.
//
// Spans given to a constructor must stay until the operation is finished. An operation that ends by
// an exception may be destroyed only after Transport::abort().
//
// Cost: n members, v bytes a member: each member sends and receives (n - 1) v in AllGather and
// AllToAllBytes, the shards of the others in ReduceScatter, 2 v (n - 1) / n in AllReduce.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/quantity.hpp"
#include "realrun/transport.hpp"

namespace orrery {

// The ranks that take part, in the order in which they are summed.
struct Group {
  std::vector<int> ranks;  // distinct, of the run
  int place = 0;           // of this rank: ranks[place] == transport.rank()

  int size() const { return static_cast<int>(ranks.size()); }
};

// The group of those ranks as `rank` sees it. It must be one of them.
Group group_of(std::vector<int> ranks, int rank);

// Which group operation: its number, and a name for messages ("dispatch"). Members must agree.
struct OperationName {
  std::int64_t base = 0;
  std::string_view name = "";
};

class GroupOperation {
 public:
  GroupOperation(const GroupOperation&) = delete;
  GroupOperation& operator=(const GroupOperation&) = delete;
  virtual ~GroupOperation() = default;

  // True when finished; then the results are there and the spans given are free again.
  bool advance();
  // When the last member had arrived, as far as this member can know: the latest match of its first
  // receives. Nothing while one of them is not matched.
  std::optional<Seconds> started();
  // Bytes that the next advance() would sum, copy or make room for.
  virtual std::size_t pending_work() = 0;

 protected:
  // `kind` as in the label: "all-reduce of 1024 float".
  GroupOperation(Transport& transport, Group group, OperationName name, std::string_view kind);

  void send(int member, int phase, std::span<const std::byte> data);
  void receive(int member, int phase, std::span<std::byte> room);
  // Whether all sends so far, and the receives of that phase (of that member), are done.
  bool sent();
  bool received(int phase);
  bool received(int phase, int member);

  Transport& transport() { return transport_; }
  const Group& group() const { return group_; }
  bool is_own(int member) const { return member == group_.place; }

 private:
  // What advance() does; true when finished.
  virtual bool step() = 0;

  static constexpr int kPhases = 2;
  struct Posted {
    std::optional<Ticket> ticket;  // until it is done
    std::optional<Seconds> matched_at;
  };
  bool poll(Posted& posted);

  Transport& transport_;
  Group group_;
  std::int64_t first_tag_;
  std::string label_;
  Seconds created_;
  std::optional<Seconds> started_;
  bool finished_ = false;
  std::vector<Posted> sends_;
  std::vector<Posted> receives_[kPhases];  // by member
};

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
};

}  // namespace orrery
