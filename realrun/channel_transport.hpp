#pragma once
// The transport between ranks that are processes, over any channel: MPI (realrun/mpi_channel.hpp),
// sockets (realrun/socket_channel.hpp), NCCL (realrun/nccl_channel.hpp).
//
// The protocol is our own, because MPI alone offers too little: its tags have 31 bits at most and
// may have 15, only the receiver learns of a message that is too long, a send cannot be cancelled,
// and nothing tells a sender that the receiver has failed.
//
//   sender                                receiver, which matches (realrun/match_queue.hpp)
//   post_send: announces tag, size, label ->
//                                         both sides there and agreed: posts the payload's receive
//                                      <- accepts, with the payload's MPI tag and the matching time
//                                      <- or refuses, with the text of the TransportError
//   sends the payload                  -> straight into the receiver's buffer
//
// So 64-bit tags travel whole and are compared whole; MPI's own tags only number the payloads,
// modulo 32768, the range every MPI has. A payload moves only between two posted sides of equal
// size.
//
// The end: each rank sends every other one a last message, when its transport is destroyed or, with
// the reason, on abort(). It accepts nothing after that, so once all last messages are in, each
// rank knows exactly which payloads are still under way and lets them arrive before Aborted leaves:
// no buffer is freed under a transfer. Ranks that do not answer an abort within the answer time are
// given up, MPI_Finalize is skipped and the launcher reports the failure. A message posted to or
// expected from a rank that has ended is a TransportError.
//
// Cost: three MPI messages each; wait() polls, at intervals that grow from nothing to 0.5 ms.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include "realrun/match_queue.hpp"
#include "realrun/message_channel.hpp"
#include "realrun/transport.hpp"

namespace orrery {

class ChannelTransport final : public Transport {
 public:
  // `answer_time`: for ranks to say their last message once the run has failed.
  explicit ChannelTransport(std::unique_ptr<MessageChannel> channel,
                            std::chrono::milliseconds answer_time = std::chrono::seconds(30))
      : channel_(std::move(channel)),
        answer_time_(answer_time),
        rank_(channel_->rank()),
        size_(channel_->size()),
        ended_(static_cast<std::size_t>(size_), 0) {}
  ~ChannelTransport() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Seconds now() const override { return channel_->now(); }

  Ticket post_send(int target, std::int64_t tag, std::span<const std::byte> data,
                   std::string_view label) override;
  Ticket post_receive(int source, std::int64_t tag, std::span<std::byte> room,
                      std::string_view label) override;
  bool carries(std::span<const int> ranks) const override {
    const std::lock_guard lock(mutex_);
    return channel_->carries(ranks);
  }
  Ticket post_group(const GroupCall& call) override;
  bool done(Ticket ticket) override;
  std::optional<Seconds> matched_at(Ticket ticket) override;
  void release(Ticket ticket) override;

  std::size_t movable_bytes() override {
    std::unique_lock lock(mutex_);
    throw_if_aborted(lock);
    return 0;
  }
  void move() override {
    std::unique_lock lock(mutex_);
    throw_if_aborted(lock);
    progress();
  }

  std::uint64_t events() const override { return events_; }
  void wait(std::uint64_t seen) override;
  void wait_until(std::uint64_t seen, Seconds deadline) override;
  void ring() override {
    ++events_;
    woken_.notify_all();
  }
  void abort(const std::string& why) override;
  std::string pending() const override;

 private:
  struct Control;
  enum class ControlKind : std::int32_t { kAnnounce, kAccept, kRefuse, kEnded, kAborted };
  struct Record {
    Posted posted;
    const std::byte* data = nullptr;  // of a send
    std::byte* room = nullptr;        // of a receive
    std::optional<Seconds> matched_at;
    std::optional<std::string> error;
    MessageChannel::Transfer transfer = 0;  // of the payload, or call of a group, under way
    bool of_group = false;
    bool done = false;
  };
  Record& post(bool is_send, int peer, std::int64_t tag, std::size_t bytes, std::string_view label);
  Record& find(Ticket ticket);
  void send_control(int target, const Control& control, std::string_view text = "");
  void match(const Posted& send, Record& receive);
  void transfer(Record& record, int payload_tag);
  void progress();
  void handle(int source, const Control& control, const std::string& text);
  void refuse_if_peer_has_ended(Record& record);
  void fail(const std::string& reason);
  void say_last(ControlKind kind, std::string_view reason = "");
  bool quiet() const;
  void become_quiet(std::unique_lock<std::mutex>& lock);
  void throw_if_aborted(std::unique_lock<std::mutex>& lock);
  std::string describe_pending() const;

  const std::unique_ptr<MessageChannel> channel_;
  const std::chrono::milliseconds answer_time_;
  const int rank_;
  const int size_;
  mutable std::mutex mutex_;  // guards the channel's calls but now(), and what follows
  std::condition_variable woken_;
  std::atomic<std::uint64_t> events_ = 0;
  std::map<Ticket, Record> records_;
  Ticket next_ticket_ = 0;
  MatchQueue queue_;            // of what is addressed to this rank
  std::vector<Ticket> moving_;  // payload under way
  int next_payload_tag_ = 0;
  std::vector<char> ended_;  // by rank: its last message is here
  bool idle_ = true;         // no message waits to leave
  bool last_said_ = false;
  bool lost_ = false;  // some rank has not answered: the channel is not called any more
  std::optional<std::string> aborted_;
};

}  // namespace orrery
