#pragma once
// An operation of a group of ranks, as a state machine that the communication worker advances; it
// never blocks. The constructor posts what can be posted; then
//
//   while (!operation.advance()) { ... transport.move(), transport.wait(seen) ... }
//
// with advance() called again after events of the transport. advance() sums and allocates, which
// costs CPU time: where pending_work() > 0 the caller takes a core first.
//
// Tags: tag = kGroupTags + 8 * base + phase, phase 0 for the first messages of every kind of
// operation and 1 for the second. `base` (0 <= base < 2^57) numbers the operations of a run. Two
// operations may share it if no two ranks are in both, or if all members start them in the same
// order. That every kind starts with phase 0 is on purpose: where two members call different kinds,
// element types, names or sizes under one base, their first messages meet, their labels differ
// ("all-reduce of 1024 float, 4 ranks: loss") and both get a TransportError that names both.
//
// Transports that carry whole groups (Transport::carries, NCCL): the first messages are then empty
// but for their labels, or the sizes of an all-to-all; once those of all members are in, and so
// agree, each member makes one call.
//
// Spans given to a constructor must stay until the operation is finished. An operation that ends by
// an exception may be destroyed only after Transport::abort().
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

  // Whether the transport carries this group's calls.
  bool carried() const { return transport_.carries(group_.ranks); }
  // Tells every other member what operation this is, in phase 0.
  void agree();
  // Makes the call once all members have agreed or, in an all-to-all, told their sizes; true when
  // it is over.
  bool carry_out(GroupCall::Kind kind, ElementType element, std::span<const std::byte> in,
                 std::span<std::byte> out);
  bool carry_out(GroupCall call);

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
  bool called_ = false;
  Posted call_;
};

}  // namespace orrery
