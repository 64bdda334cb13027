#pragma once
// What the transport between processes (realrun/channel_transport.hpp) needs of a network: short
// messages in order, payloads into given memory, and the epoch of the clock. MPI, sockets and NCCL
// are behind it, in tests others too.
//
// One call at a time; the caller sees to that (with MPI, MPI_THREAD_SERIALIZED).
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/quantity.hpp"
#include "realrun/group_call.hpp"

namespace orrery {

class MessageChannel {
 public:
  struct Message {
    int source = 0;
    std::vector<std::byte> bytes;
  };
  // A payload under way.
  using Transfer = int;

  MessageChannel() = default;
  MessageChannel(const MessageChannel&) = delete;
  MessageChannel& operator=(const MessageChannel&) = delete;
  virtual ~MessageChannel() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Seconds since an epoch that all ranks share, of a steady clock.
  virtual Seconds now() const = 0;

  // Messages between two ranks arrive in the order in which they were sent.
  virtual void send(int target, std::vector<std::byte> message) = 0;
  virtual std::optional<Message> receive() = 0;

  // A send meets the receive of the same tag (0 <= tag < kTags), oldest first, of the same size.
  static constexpr int kTags = 32768;
  virtual Transfer start_send(int target, int tag, std::span<const std::byte> data) = 0;
  virtual Transfer start_receive(int source, int tag, std::span<std::byte> room) = 0;
  // Once true, the transfer is forgotten.
  virtual bool finished(Transfer transfer) = 0;

  // Whether calls of those ranks, in that order, can be carried out as a whole; to be asked before
  // start_group. All members then make the same calls, in the same order.
  virtual bool carries(std::span<const int> /*ranks*/) const { return false; }
  virtual Transfer start_group(const GroupCall& call);

  // Whether every message has left.
  virtual bool idle() = 0;
  // The run has failed: transfers may be ended in which others may never take part.
  virtual void cancel() {}
  // The network is in disorder: the destructor must not wait for anyone.
  virtual void give_up() = 0;
};

}  // namespace orrery
