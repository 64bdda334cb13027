#pragma once
// How the ranks of a real run exchange bytes: one interface over the threads of one process
// (realrun/thread_transport.hpp) and over processes (realrun/channel_transport.hpp).
//
// Rendezvous, no hidden buffering: a send is done once its receive has been posted and the data has
// been moved; a receive likewise. A send matches the receive of its (source, tag); several of the
// same (source, tag) match in posting order. Both sides must agree on the size and on the label,
// which says what the message is ("dispatch"): otherwise both get a TransportError.
//
// Nothing but wait() sleeps. The loop of a communication worker:
//
//   for (;;) {
//     const std::uint64_t seen = transport.events();
//     ... post what may start, ask done(ticket), release(ticket) what is done ...
//     if (transport.movable_bytes() > 0) transport.move();   // after taking a core
//     else transport.wait(seen);                             // sleeps only if nothing happened
//   }
//
// Threads: an endpoint belongs to one thread, the communication worker of its rank. ring(),
// abort(), events(), pending() and now() may be called by any thread.
//
// Failure: a rank that gives up calls abort() before the buffers of its tickets go. After abort()
// no data of the run moves any more, and every endpoint throws Aborted from post_*, done,
// movable_bytes, move and wait.
//
// Tags: 0 .. kGroupTags - 1 are point to point, of the caller's choice; from kGroupTags on they
// belong to group operations (realrun/collectives.hpp); negative ones to gather() below.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/quantity.hpp"
#include "realrun/group_call.hpp"

namespace orrery {

// A posted send or receive of one endpoint, valid until it is released.
using Ticket = std::int64_t;

inline constexpr std::int64_t kGroupTags = std::int64_t{1} << 61;

// The two sides of a message disagree: names both ranks, the tag, both sizes and both labels.
class TransportError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Another rank (or this one) has called abort(): "rank 3 failed: ...".
class Aborted : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The endpoint of one rank.
class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Seconds since an epoch that all ranks of the run share, of a steady clock.
  virtual Seconds now() const = 0;

  // What is posted from now on counts as posted at `when`, or without one when it is posted. For
  // paced runs: when it was ready, however late the operating system woke the worker that posts it.
  void post_as_of(std::optional<Seconds> when) { as_of_ = when; }

  // `data` and `room` must stay until the ticket is done. The first 63 characters of the label
  // count. A rank may send to itself. A message of no bytes is done as soon as it is matched.
  virtual Ticket post_send(int target, std::int64_t tag, std::span<const std::byte> data,
                           std::string_view label) = 0;
  virtual Ticket post_receive(int source, std::int64_t tag, std::span<std::byte> room,
                              std::string_view label) = 0;
  Ticket post_send(int target, std::int64_t tag, std::span<const std::byte> data) {
    return post_send(target, tag, data, "message");
  }
  Ticket post_receive(int source, std::int64_t tag, std::span<std::byte> room) {
    return post_receive(source, tag, room, "message");
  }

  // Whether operations of those ranks, in that order, are calls of the group as a whole; else they
  // are made of messages (realrun/collectives.hpp).
  virtual bool carries(std::span<const int> /*ranks*/) const { return false; }
  // Such a call. All members have agreed on it before: nothing is compared any more.
  virtual Ticket post_group(const GroupCall& call);

  // Throws TransportError if the other side disagrees with this ticket, even after abort(); else
  // Aborted after abort().
  virtual bool done(Ticket ticket) = 0;
  // When both sides had been posted (post_as_of); nothing while they are not. Still known after
  // done().
  virtual std::optional<Seconds> matched_at(Ticket ticket) = 0;
  // Forgets a ticket that is done, or whose done() has thrown TransportError; whoever posts also
  // releases, or the records pile up.
  virtual void release(Ticket ticket) = 0;

  // Bytes of matched receives of this rank that have not been moved: moving them costs CPU time,
  // so the caller takes a core first. Over MPI always 0: its progress engine moves.
  virtual std::size_t movable_bytes() = 0;
  virtual void move() = 0;

  // Counts what happened to this endpoint: matches of its receives, completions, errors, ring().
  virtual std::uint64_t events() const = 0;
  // Sleeps until events() != seen.
  virtual void wait(std::uint64_t seen) = 0;
  // The same, but no longer than until `deadline` of now().
  virtual void wait_until(std::uint64_t seen, Seconds deadline) = 0;
  // Something else happened that the worker should look at: ends its wait().
  virtual void ring() = 0;
  // The first call of the run counts. Returns once no data of this rank is being moved.
  virtual void abort(const std::string& why) = 0;
  // What is not done, for a watchdog: "send to rank 3, tag 17, 4096 B, message (posted 2.1 s ago);
  // receive from rank 1, operation 5 phase 0, 8 B, dispatch (posted 0.3 s ago, matched)". Empty if
  // nothing.
  virtual std::string pending() const = 0;
  // When what is posted now counts as posted.
  Seconds posting_time() const { return as_of_ ? std::min(*as_of_, now()) : now(); }

 private:
  std::optional<Seconds> as_of_;
};

// Blocks until all tickets are done, moving and sleeping meanwhile, and releases them. For the
// start and the end of a run and for tests, where nothing else is to be done. A TransportError
// aborts the run before it leaves, because the buffers of the other tickets may go with it.
void finish(Transport& transport, std::span<const Ticket> tickets);

// Every rank gives a blob; rank 0 gets them all, by rank; the others get an empty list. Blocks, and
// every rank must call it: for collecting results at the end of a run.
std::vector<std::vector<std::byte>> gather(Transport& transport, std::span<const std::byte> own);

}  // namespace orrery
