#pragma once
// What the MPI transport needs of MPI, without its types: short messages in order, payloads into
// given memory, and the epoch of the clock. A test may put another network behind it.
//
// One call at a time; the caller sees to that (MPI_THREAD_SERIALIZED).
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/quantity.hpp"

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

  // Whether every message has left.
  virtual bool idle() = 0;
  // The network is in disorder: the destructor must not wait for anyone.
  virtual void give_up() = 0;
};

// The MPI of this process, initialised unless it is already; its destructor finalises it. Throws
// EnvironmentError where this build has no MPI or the library cannot serve threads; an error that
// MPI returns later is an EnvironmentError too.
//
// Clock: the ranks on rank 0's node read the same steady clock. The offset of the others is
// measured once, at the start, by the fastest of 32 round trips to rank 0: it is wrong by at most
// half of that round trip. The drift of a node's clock after that (tens of microseconds a second)
// is not corrected.
std::unique_ptr<MessageChannel> mpi_channel(int* argc, char*** argv);

// Whether mpirun, mpiexec or srun has started this process, by the variables that they set.
bool launched_by_mpi();

}  // namespace orrery
