#include "realrun/mpi_transport.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <limits>
#include <map>
#include <mutex>
#include <thread>

#include "core/error.hpp"
#include "realrun/match_queue.hpp"

namespace orrery {

namespace {

using std::chrono::steady_clock;

constexpr int kYields = 50;  // polls of wait() before it sleeps: about as long as a short sleep
constexpr std::chrono::microseconds kFirstSleep(50), kLongestSleep(500);

// A message of the protocol; a refusal and an abort are followed by their text.
struct Control {
  enum class Kind : std::int32_t { kAnnounce, kAccept, kRefuse, kEnded, kAborted };
  Kind kind = Kind::kAnnounce;
  std::int32_t payload_tag = 0;  // accept
  Ticket send = 0;               // of the sender: announce, accept, refuse
  std::int64_t tag = 0;          // announce
  std::uint64_t bytes = 0;       // announce
  double at = 0;                 // announce: when it was posted; accept: when both were
  Label label;                   // announce
};

class ChannelTransport final : public Transport {
 public:
  ChannelTransport(std::unique_ptr<MessageChannel> channel, std::chrono::milliseconds answer_time)
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
  struct Record {
    Posted posted;
    const std::byte* data = nullptr;  // of a send
    std::byte* room = nullptr;        // of a receive
    std::optional<Seconds> matched_at;
    std::optional<std::string> error;
    MessageChannel::Transfer transfer = 0;  // of the payload under way
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
  void say_last(Control::Kind kind, std::string_view reason = "");
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

ChannelTransport::~ChannelTransport() {
  try {
    std::unique_lock lock(mutex_);
    const std::string open = describe_pending();
    if (!open.empty() && !aborted_) fail(abort_text(rank_, "ended while it had posted " + open));
    say_last(Control::Kind::kEnded);
    become_quiet(lock);
  } catch (...) {
    // Nothing may leave a destructor; the launcher will say that this process ended badly.
    channel_->give_up();
  }
}

Ticket ChannelTransport::post_send(int target, std::int64_t tag, std::span<const std::byte> data,
                                   std::string_view label) {
  std::unique_lock lock(mutex_);
  throw_if_aborted(lock);
  Record& record = post(true, target, tag, data.size(), label);
  record.data = data.data();
  Control announce;
  announce.kind = Control::Kind::kAnnounce;
  announce.send = record.posted.ticket;
  announce.tag = tag;
  announce.bytes = data.size();
  announce.label = record.posted.label;
  announce.at = record.posted.at.value();
  send_control(target, announce);
  refuse_if_peer_has_ended(record);
  return record.posted.ticket;
}

Ticket ChannelTransport::post_receive(int source, std::int64_t tag, std::span<std::byte> room,
                                      std::string_view label) {
  std::unique_lock lock(mutex_);
  throw_if_aborted(lock);
  Record& record = post(false, source, tag, room.size(), label);
  record.room = room.data();
  if (const std::optional<Posted> send = queue_.add_receive(record.posted)) {
    match(*send, record);
  } else {
    refuse_if_peer_has_ended(record);
  }
  return record.posted.ticket;
}

ChannelTransport::Record& ChannelTransport::post(bool is_send, int peer, std::int64_t tag,
                                                 std::size_t bytes, std::string_view label) {
  ORRERY_CHECK(peer >= 0 && peer < size_, "peer {} of {} ranks", peer, size_);
  const Ticket ticket = next_ticket_++;
  Record& record = records_[ticket];
  record.posted = {is_send, rank_, peer, tag, bytes, Label(label), ticket, posting_time()};
  return record;
}

ChannelTransport::Record& ChannelTransport::find(Ticket ticket) {
  const auto record = records_.find(ticket);
  ORRERY_CHECK(record != records_.end(), "rank {} has no ticket {}", rank_, ticket);
  return record->second;
}

bool ChannelTransport::done(Ticket ticket) {
  std::unique_lock lock(mutex_);
  const Record& record = find(ticket);
  if (!record.done && !record.error) progress();
  if (record.error) throw TransportError(*record.error);
  throw_if_aborted(lock);
  return record.done;
}

std::optional<Seconds> ChannelTransport::matched_at(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  return find(ticket).matched_at;
}

void ChannelTransport::release(Ticket ticket) {
  const std::lock_guard lock(mutex_);
  const Record& record = find(ticket);
  ORRERY_CHECK(record.done || record.error, "rank {} releases ticket {}, not done", rank_, ticket);
  records_.erase(ticket);
}

void ChannelTransport::wait(std::uint64_t seen) {
  wait_until(seen, Seconds{std::numeric_limits<double>::infinity()});
}

void ChannelTransport::wait_until(std::uint64_t seen, Seconds deadline) {
  std::unique_lock lock(mutex_);
  std::chrono::microseconds sleep = kFirstSleep;
  for (int poll = 0;; ++poll) {
    progress();
    throw_if_aborted(lock);
    if (events_ != seen || now() >= deadline) return;
    if (poll < kYields) {
      lock.unlock();
      std::this_thread::yield();
      lock.lock();
    } else {
      woken_.wait_for(lock, sleep);
      sleep = std::min(2 * sleep, kLongestSleep);
    }
  }
}

void ChannelTransport::abort(const std::string& why) {
  std::unique_lock lock(mutex_);
  fail(abort_text(rank_, why));
  become_quiet(lock);
}

std::string ChannelTransport::pending() const {
  const std::lock_guard lock(mutex_);
  return describe_pending();
}

std::string ChannelTransport::describe_pending() const {
  std::string text;
  for (const auto& [ticket, record] : records_) {
    if (record.done || record.error) continue;
    if (!text.empty()) text += "; ";
    text += posted_text(record.posted, now(), record.matched_at ? "matched" : "");
  }
  return text;
}

void ChannelTransport::send_control(int target, const Control& control, std::string_view text) {
  std::vector<std::byte> message(sizeof control + text.size());
  std::memcpy(message.data(), &control, sizeof control);
  std::memcpy(message.data() + sizeof control, text.data(), text.size());
  channel_->send(target, std::move(message));
}

// On the receiver's side. The receive is posted before the sender may send.
void ChannelTransport::match(const Posted& send, Record& receive) {
  Control answer;
  answer.send = send.ticket;
  receive.error = mismatch(send, receive.posted);
  if (receive.error) {
    answer.kind = Control::Kind::kRefuse;
    send_control(send.rank, answer, *receive.error);
  } else {
    receive.matched_at = std::max(send.at, receive.posted.at);
    answer.kind = Control::Kind::kAccept;
    answer.payload_tag = next_payload_tag_;
    answer.at = receive.matched_at->value();
    next_payload_tag_ = (next_payload_tag_ + 1) % MessageChannel::kTags;
    transfer(receive, answer.payload_tag);
    send_control(send.rank, answer);
  }
  ++events_;
}

void ChannelTransport::transfer(Record& record, int payload_tag) {
  const Posted& posted = record.posted;
  if (posted.bytes == 0) {
    record.done = true;
    return;
  }
  record.transfer =
      posted.is_send
          ? channel_->start_send(posted.peer, payload_tag, {record.data, posted.bytes})
          : channel_->start_receive(posted.peer, payload_tag, {record.room, posted.bytes});
  moving_.push_back(posted.ticket);
}

void ChannelTransport::progress() {
  if (lost_) return;
  while (const std::optional<MessageChannel::Message> message = channel_->receive()) {
    ORRERY_CHECK(message->bytes.size() >= sizeof(Control), "{} bytes", message->bytes.size());
    Control control;
    std::memcpy(&control, message->bytes.data(), sizeof control);
    std::string text(message->bytes.size() - sizeof control, ' ');
    std::memcpy(text.data(), message->bytes.data() + sizeof control, text.size());
    handle(message->source, control, text);
  }
  std::erase_if(moving_, [&](Ticket ticket) {
    Record& record = find(ticket);
    record.done = channel_->finished(record.transfer);
    if (record.done) ++events_;
    return record.done;
  });
  idle_ = channel_->idle();
}

void ChannelTransport::handle(int source, const Control& control, const std::string& text) {
  switch (control.kind) {
    case Control::Kind::kAnnounce: {
      if (last_said_) return;
      const Posted send{true,          source,        rank_,        control.tag,
                        control.bytes, control.label, control.send, Seconds{control.at}};
      if (const std::optional<Posted> receive = queue_.add_send(send))
        match(send, find(receive->ticket));
      break;
    }
    case Control::Kind::kAccept: {
      Record& send = find(control.send);
      send.matched_at = Seconds{control.at};
      transfer(send, control.payload_tag);
      break;
    }
    case Control::Kind::kRefuse: find(control.send).error = text; break;
    case Control::Kind::kEnded:
      ended_[static_cast<std::size_t>(source)] = 1;
      for (auto& [ticket, record] : records_) refuse_if_peer_has_ended(record);
      break;
    case Control::Kind::kAborted:
      ended_[static_cast<std::size_t>(source)] = 1;
      fail(text);
      break;
  }
  ++events_;
}

void ChannelTransport::refuse_if_peer_has_ended(Record& record) {
  if (!ended_[static_cast<std::size_t>(record.posted.peer)] || record.matched_at || record.error)
    return;
  record.error = fmt::format("rank {} has ended its run, but rank {} has posted: {}",
                             record.posted.peer, rank_, posted_text(record.posted, now()));
}

void ChannelTransport::fail(const std::string& reason) {
  if (!aborted_) aborted_ = reason;
  say_last(Control::Kind::kAborted, *aborted_);
  ++events_;
  woken_.notify_all();
}

void ChannelTransport::say_last(Control::Kind kind, std::string_view reason) {
  if (last_said_) return;
  last_said_ = true;
  Control last;
  last.kind = kind;
  for (int other = 0; other < size_; ++other) {
    if (other != rank_) send_control(other, last, reason);
  }
}

bool ChannelTransport::quiet() const {
  return moving_.empty() && idle_ && std::count(ended_.begin(), ended_.end(), 0) == 1;
}

// Until all ranks have said their last message and nothing is under way. Without a failure that
// takes as long as the slowest rank does.
void ChannelTransport::become_quiet(std::unique_lock<std::mutex>& lock) {
  std::optional<steady_clock::time_point> failed_at;
  while (!lost_) {
    progress();
    if (quiet()) return;
    if (aborted_ && !failed_at) failed_at = steady_clock::now();
    if (failed_at && steady_clock::now() - *failed_at > answer_time_) {
      lost_ = true;
      channel_->give_up();
      return;
    }
    woken_.wait_for(lock, kLongestSleep);
  }
}

void ChannelTransport::throw_if_aborted(std::unique_lock<std::mutex>& lock) {
  if (!aborted_) return;
  become_quiet(lock);
  throw Aborted(*aborted_);
}

}  // namespace

std::unique_ptr<Transport> channel_transport(std::unique_ptr<MessageChannel> channel,
                                             std::chrono::milliseconds answer_time) {
  return std::make_unique<ChannelTransport>(std::move(channel), answer_time);
}

std::unique_ptr<Transport> mpi_transport(int* argc, char*** argv) {
  return channel_transport(mpi_channel(argc, argv));
}

}  // namespace orrery
