#include "realrun/channel_transport.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <thread>

#include "core/error.hpp"

namespace orrery {
namespace {

using std::chrono::steady_clock;

constexpr int kYields = 50;  // polls of wait() before it sleeps: about as long as a short sleep
constexpr std::chrono::microseconds kFirstSleep(50), kLongestSleep(500);

}  // namespace

// A message of the protocol; a refusal and an abort are followed by their text.
struct ChannelTransport::Control {
  ControlKind kind = ControlKind::kAnnounce;
  std::int32_t payload_tag = 0;  // accept
  Ticket send = 0;               // of the sender: announce, accept, refuse
  std::int64_t tag = 0;          // announce
  std::uint64_t bytes = 0;       // announce
  double at = 0;                 // announce: when it was posted; accept: when both were
  Label label;                   // announce
};

ChannelTransport::~ChannelTransport() {
  try {
    std::unique_lock lock(mutex_);
    const std::string open = describe_pending();
    if (!open.empty() && !aborted_) fail(abort_text(rank_, "ended while it had posted " + open));
    say_last(ControlKind::kEnded);
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
  announce.kind = ControlKind::kAnnounce;
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

Ticket ChannelTransport::post_group(const GroupCall& call) {
  std::unique_lock lock(mutex_);
  throw_if_aborted(lock);
  Record& record = post(true, rank_, 0, call.in.size(), call.label);
  record.of_group = true;
  record.matched_at = record.posted.at;
  record.transfer = channel_->start_group(call);
  moving_.push_back(record.posted.ticket);
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
    text += record.of_group ? fmt::format("{} (begun {:.1f} s ago)", record.posted.label.text(),
                                          (now() - record.posted.at).value())
                            : posted_text(record.posted, now(), record.matched_at ? "matched" : "");
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
    answer.kind = ControlKind::kRefuse;
    send_control(send.rank, answer, *receive.error);
  } else {
    receive.matched_at = std::max(send.at, receive.posted.at);
    answer.kind = ControlKind::kAccept;
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
    case ControlKind::kAnnounce: {
      if (last_said_) return;
      const Posted send{true,          source,        rank_,        control.tag,
                        control.bytes, control.label, control.send, Seconds{control.at}};
      if (const std::optional<Posted> receive = queue_.add_send(send))
        match(send, find(receive->ticket));
      break;
    }
    case ControlKind::kAccept: {
      Record& send = find(control.send);
      send.matched_at = Seconds{control.at};
      transfer(send, control.payload_tag);
      break;
    }
    case ControlKind::kRefuse: find(control.send).error = text; break;
    case ControlKind::kEnded:
      ended_[static_cast<std::size_t>(source)] = 1;
      for (auto& [ticket, record] : records_) refuse_if_peer_has_ended(record);
      break;
    case ControlKind::kAborted:
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
  say_last(ControlKind::kAborted, *aborted_);
  ++events_;
  woken_.notify_all();
}

void ChannelTransport::say_last(ControlKind kind, std::string_view reason) {
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
  const auto lose = [&] {
    lost_ = true;
    channel_->give_up();
  };
  while (!lost_) {
    try {
      progress();
    } catch (const EnvironmentError&) {
      if (!aborted_) throw;
      return lose();  // the reason of the failure is known: what follows from it is not
    }
    if (quiet()) return;
    if (aborted_ && !failed_at) {
      failed_at = steady_clock::now();
      channel_->cancel();
    }
    if (failed_at && steady_clock::now() - *failed_at > answer_time_) {
      return lose();
    }
    woken_.wait_for(lock, kLongestSleep);
  }
}

void ChannelTransport::throw_if_aborted(std::unique_lock<std::mutex>& lock) {
  if (!aborted_) return;
  become_quiet(lock);
  throw Aborted(*aborted_);
}

}  // namespace orrery
