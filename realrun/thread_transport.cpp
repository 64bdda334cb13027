#include "realrun/thread_transport.hpp"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>

#include "core/error.hpp"
#include "realrun/match_queue.hpp"

namespace orrery {

struct ThreadWorld::State {
  const std::chrono::steady_clock::time_point epoch = std::chrono::steady_clock::now();
  std::mutex mutex;  // guards what follows, and all endpoints' private members
  std::vector<std::unique_ptr<Endpoint>> endpoints;
  std::optional<std::string> aborted;
  int moving = 0;                 // copies under way
  std::condition_variable quiet;  // moving has become 0
};

class ThreadWorld::Endpoint final : public Transport {
 public:
  Endpoint(State& world, int rank) : world_(world), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_.endpoints.size()); }
  Seconds now() const override {
    return Seconds{
        std::chrono::duration<double>(std::chrono::steady_clock::now() - world_.epoch).count()};
  }

  Ticket post_send(int target, std::int64_t tag, std::span<const std::byte> data,
                   std::string_view label) override {
    return post(true, target, tag, data.data(), nullptr, data.size(), label);
  }
  Ticket post_receive(int source, std::int64_t tag, std::span<std::byte> room,
                      std::string_view label) override {
    return post(false, source, tag, nullptr, room.data(), room.size(), label);
  }

  bool done(Ticket ticket) override {
    std::unique_lock lock(world_.mutex);
    const Record& record = find(ticket);
    if (record.error) throw TransportError(*record.error);
    throw_if_aborted(lock);
    return record.done;
  }
  std::optional<Seconds> matched_at(Ticket ticket) override {
    const std::lock_guard lock(world_.mutex);
    return find(ticket).matched_at;
  }
  void release(Ticket ticket) override {
    const std::lock_guard lock(world_.mutex);
    const Record& record = find(ticket);
    ORRERY_CHECK(record.done || record.error, "rank {} releases ticket {}, not done", rank_,
                 ticket);
    records_.erase(ticket);
  }

  std::size_t movable_bytes() override {
    std::unique_lock lock(world_.mutex);
    throw_if_aborted(lock);
    return movable_bytes_;
  }
  void move() override;

  std::uint64_t events() const override { return events_; }
  void wait(std::uint64_t seen) override {
    std::unique_lock lock(world_.mutex);
    woken_.wait(lock, [&] { return events_ != seen || world_.aborted; });
    throw_if_aborted(lock);
  }
  void wait_until(std::uint64_t seen, Seconds deadline) override {
    const std::chrono::duration<double> left((deadline - now()).value());
    std::unique_lock lock(world_.mutex);
    woken_.wait_for(lock, left, [&] { return events_ != seen || world_.aborted; });
    throw_if_aborted(lock);
  }
  void ring() override {
    {
      const std::lock_guard lock(world_.mutex);
      ++events_;
    }
    woken_.notify_one();
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
    bool done = false;
  };
  // A matched receive of this rank whose data is still at the sender.
  struct Movable {
    Ticket receive = 0;
    Endpoint* sender = nullptr;
    Ticket send = 0;
  };

  Ticket post(bool is_send, int peer, std::int64_t tag, const std::byte* data, std::byte* room,
              std::size_t bytes, std::string_view label);
  static void match(Endpoint& sender, Record& send, Endpoint& receiver, Record& receive);
  Record& find(Ticket ticket) {
    const auto record = records_.find(ticket);
    ORRERY_CHECK(record != records_.end(), "rank {} has no ticket {}", rank_, ticket);
    return record->second;
  }
  // The copies under way end first: what throws may take the buffers with it.
  void throw_if_aborted(std::unique_lock<std::mutex>& lock) {
    if (!world_.aborted) return;
    world_.quiet.wait(lock, [&] { return world_.moving == 0; });
    throw Aborted(*world_.aborted);
  }

  State& world_;
  const int rank_;
  std::atomic<std::uint64_t> events_ = 0;  // written under the lock, so that wait() misses none
  std::condition_variable woken_;
  std::map<Ticket, Record> records_;
  Ticket next_ticket_ = 0;
  MatchQueue queue_;  // of what is addressed to this rank
  std::deque<Movable> movable_;
  std::size_t movable_bytes_ = 0;
};

Ticket ThreadWorld::Endpoint::post(bool is_send, int peer, std::int64_t tag, const std::byte* data,
                                   std::byte* room, std::size_t bytes, std::string_view label) {
  ORRERY_CHECK(peer >= 0 && peer < size(), "peer {} of {} ranks", peer, size());
  Endpoint& other = *world_.endpoints[static_cast<std::size_t>(peer)];
  std::unique_lock lock(world_.mutex);
  throw_if_aborted(lock);
  const Ticket ticket = next_ticket_++;
  Record& own = records_[ticket];
  own.posted = {is_send, rank_, peer, tag, bytes, Label(label), ticket, posting_time()};
  own.data = data;
  own.room = room;
  const std::optional<Posted> matched =
      is_send ? other.queue_.add_send(own.posted) : queue_.add_receive(own.posted);
  if (!matched) return ticket;
  Record& others = other.find(matched->ticket);
  if (is_send) {
    match(*this, own, other, others);
  } else {
    match(other, others, *this, own);
  }
  ++events_;
  // A sender learns nothing from a match: it waits until its data has been moved. Waking it would
  // cost whoever computes on its core.
  const bool nothing_to_do = !is_send && !own.done && !own.error;
  if (!nothing_to_do) ++other.events_;
  lock.unlock();
  if (!nothing_to_do) other.woken_.notify_one();
  return ticket;
}

void ThreadWorld::Endpoint::match(Endpoint& sender, Record& send, Endpoint& receiver,
                                  Record& receive) {
  send.error = receive.error = mismatch(send.posted, receive.posted);
  if (!send.error) {
    send.matched_at = receive.matched_at = std::max(send.posted.at, receive.posted.at);
    if (receive.posted.bytes == 0) {
      send.done = receive.done = true;
    } else {
      receiver.movable_.push_back({receive.posted.ticket, &sender, send.posted.ticket});
      receiver.movable_bytes_ += receive.posted.bytes;
    }
  }
}

void ThreadWorld::Endpoint::move() {
  std::unique_lock lock(world_.mutex);
  throw_if_aborted(lock);
  while (!movable_.empty()) {
    const Movable next = movable_.front();
    Record& receive = find(next.receive);
    Record& send = next.sender->find(next.send);
    movable_.pop_front();
    movable_bytes_ -= receive.posted.bytes;
    ++world_.moving;
    lock.unlock();
    std::memcpy(receive.room, send.data, receive.posted.bytes);
    lock.lock();
    --world_.moving;
    send.done = receive.done = true;
    ++events_;
    ++next.sender->events_;
    if (world_.aborted) {
      world_.quiet.notify_all();
      throw_if_aborted(lock);
    }
    next.sender->woken_.notify_one();
  }
}

void ThreadWorld::Endpoint::abort(const std::string& why) {
  std::unique_lock lock(world_.mutex);
  if (!world_.aborted) world_.aborted = abort_text(rank_, why);
  for (const auto& endpoint : world_.endpoints) {
    ++endpoint->events_;
    endpoint->woken_.notify_one();
  }
  world_.quiet.wait(lock, [&] { return world_.moving == 0; });
}

std::string ThreadWorld::Endpoint::pending() const {
  const std::lock_guard lock(world_.mutex);
  std::string text;
  for (const auto& [ticket, record] : records_) {
    if (record.done) continue;
    if (!text.empty()) text += "; ";
    text += posted_text(record.posted, now(),
                        record.error        ? "refused"
                        : record.matched_at ? "matched"
                                            : "");
  }
  return text;
}

ThreadWorld::ThreadWorld(int ranks) : state_(std::make_unique<State>()) {
  ORRERY_CHECK(ranks > 0, "{} ranks", ranks);
  for (int rank = 0; rank < ranks; ++rank)
    state_->endpoints.push_back(std::make_unique<Endpoint>(*state_, rank));
}

ThreadWorld::~ThreadWorld() = default;

Transport& ThreadWorld::endpoint(int rank) {
  ORRERY_CHECK(rank >= 0 && rank < static_cast<int>(state_->endpoints.size()), "rank {}", rank);
  return *state_->endpoints[static_cast<std::size_t>(rank)];
}

}  // namespace orrery
