#include "realrun/socket_channel.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <map>
#include <set>

#include "core/error.hpp"
#include "realrun/socket_mesh.hpp"

namespace orrery {
namespace {

using std::chrono::steady_clock;

struct Frame {
  enum class Kind : std::int32_t { kMessage, kPayload, kGoodbye };
  Kind kind = Kind::kMessage;
  std::int32_t tag = 0;  // of a payload
  std::uint64_t bytes = 0;
};

// A frame on its way out: its head, then its body.
struct Outgoing {
  Frame frame;
  std::vector<std::byte> own;       // the body of a message
  std::span<const std::byte> data;  // that of a payload
  std::optional<MessageChannel::Transfer> transfer;
  std::size_t sent = 0;

  std::span<const std::byte> rest() const {
    const std::span head = std::as_bytes(std::span(&frame, 1));
    if (sent < head.size()) return head.subspan(sent);
    const std::span<const std::byte> body = transfer ? data : std::span<const std::byte>(own);
    return body.subspan(sent - head.size());
  }
};

struct Peer {
  int socket = -1;
  std::deque<Outgoing> out;
  // What is coming in: a head, then a body.
  Frame frame;
  std::size_t head_got = 0;
  std::size_t body_got = 0;
  std::vector<std::byte> message;
  std::span<std::byte> room;
  MessageChannel::Transfer transfer = 0;
  bool said_goodbye = false;
};

class SocketChannel final : public MessageChannel {
 public:
  SocketChannel(const Launch& launch, std::chrono::milliseconds patience)
      : rank_(launch.rank), patience_(patience) {
    SocketMesh mesh = connect_mesh(launch, patience);
    epoch_ = mesh.epoch;
    peers_.resize(mesh.sockets.size());
    for (std::size_t other = 0; other < peers_.size(); ++other)
      peers_[other].socket = mesh.sockets[other];
  }
  ~SocketChannel() override;

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(peers_.size()); }
  Seconds now() const override {
    const auto since = steady_clock::now().time_since_epoch();
    return Seconds{std::chrono::duration<double>(since).count() - epoch_};
  }

  void send(int target, std::vector<std::byte> message) override {
    if (target == rank_) {
      arrived_.push_back({rank_, std::move(message)});
      return;
    }
    Outgoing out;
    out.frame = {Frame::Kind::kMessage, 0, message.size()};
    out.own = std::move(message);
    peer(target).out.push_back(std::move(out));
    write(target);
  }
  std::optional<Message> receive() override {
    pump();
    if (arrived_.empty()) return std::nullopt;
    Message message = std::move(arrived_.front());
    arrived_.pop_front();
    return message;
  }
  Transfer start_send(int target, int tag, std::span<const std::byte> data) override {
    const Transfer transfer = next_transfer_++;
    if (target == rank_) {
      const Expected room = take_expected(rank_, tag, data.size());
      std::copy(data.begin(), data.end(), room.room.begin());
      open_.erase(room.transfer);
      return transfer;
    }
    Outgoing out;
    out.frame = {Frame::Kind::kPayload, tag, data.size()};
    out.data = data;
    out.transfer = transfer;
    open_.insert(transfer);
    peer(target).out.push_back(std::move(out));
    write(target);
    return transfer;
  }
  Transfer start_receive(int source, int tag, std::span<std::byte> room) override {
    const Transfer transfer = next_transfer_++;
    open_.insert(transfer);
    expected_[{source, tag}].push_back({transfer, room});
    return transfer;
  }
  bool finished(Transfer transfer) override {
    pump();
    return !open_.contains(transfer);
  }
  bool idle() override {
    pump();
    return std::all_of(peers_.begin(), peers_.end(),
                       [](const Peer& each) { return each.out.empty(); });
  }
  void give_up() override { given_up_ = true; }

 private:
  struct Expected {
    Transfer transfer = 0;
    std::span<std::byte> room;
  };

  Expected take_expected(int source, int tag, std::size_t bytes);
  Peer& peer(int other) { return peers_[static_cast<std::size_t>(other)]; }
  void pump();
  // Sends what the socket takes; false where the other side is gone. Whoever sends need not look:
  // pump() does, so that a failing rank can tell the others.
  bool write(int target);
  void read(int source);
  void begin_body(int source);
  void end_body(int source);
  [[noreturn]] void lose(int other) const {
    throw EnvironmentError(fmt::format(
        "rank {} has lost its connection to rank {}: that process has ended", rank_, other));
  }

  const int rank_;
  const std::chrono::milliseconds patience_;
  double epoch_ = 0;
  std::vector<Peer> peers_;
  std::deque<Message> arrived_;
  std::map<std::pair<int, int>, std::deque<Expected>> expected_;  // by (source, tag)
  std::set<Transfer> open_;
  Transfer next_transfer_ = 0;
  bool given_up_ = false;
};

// Goodbye to all, then until all have said it: a connection closed earlier could lose the last
// messages on their way.
SocketChannel::~SocketChannel() {
  try {
    const auto deadline = steady_clock::now() + patience_;
    for (std::size_t other = 0; other < peers_.size() && !given_up_; ++other) {
      Outgoing out;
      out.frame.kind = Frame::Kind::kGoodbye;
      if (peers_[other].socket >= 0) peers_[other].out.push_back(std::move(out));
    }
    const auto gone = [](const Peer& each) {
      return each.socket < 0 || (each.said_goodbye && each.out.empty());
    };
    while (!given_up_ && !std::all_of(peers_.begin(), peers_.end(), gone) &&
           steady_clock::now() < deadline) {
      pump();
      std::vector<pollfd> waiting;
      for (const Peer& each : peers_) {
        if (!gone(each))
          waiting.push_back(
              {each.socket, static_cast<short>(each.out.empty() ? POLLIN : POLLIN | POLLOUT), 0});
      }
      if (!waiting.empty()) ::poll(waiting.data(), waiting.size(), 10);
    }
  } catch (const EnvironmentError&) {
    // A rank that is gone needs no goodbye.
  }
  for (const Peer& each : peers_) {
    if (each.socket >= 0) ::close(each.socket);
  }
}

void SocketChannel::pump() {
  for (int other = 0; other < size(); ++other) {
    if (peer(other).socket < 0) continue;
    if (!write(other)) lose(other);
    read(other);
  }
}

bool SocketChannel::write(int target) {
  Peer& to = peer(target);
  while (!to.out.empty()) {
    Outgoing& out = to.out.front();
    const std::span<const std::byte> rest = out.rest();
    if (rest.empty()) {
      if (out.transfer) open_.erase(*out.transfer);
      to.out.pop_front();
      continue;
    }
    const ssize_t moved = ::send(to.socket, rest.data(), rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return true;
    if (moved <= 0) return false;
    out.sent += static_cast<std::size_t>(moved);
  }
  return true;
}

void SocketChannel::read(int source) {
  Peer& from = peer(source);
  while (!from.said_goodbye) {
    const bool head = from.head_got < sizeof(Frame);
    std::span<std::byte> rest = std::as_writable_bytes(std::span(&from.frame, 1));
    if (head) {
      rest = rest.subspan(from.head_got);
    } else {
      rest = from.room.subspan(from.body_got);
      if (rest.empty()) {
        end_body(source);
        continue;
      }
    }
    const ssize_t moved = ::recv(from.socket, rest.data(), rest.size(), MSG_DONTWAIT);
    if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
    if (moved <= 0) lose(source);
    (head ? from.head_got : from.body_got) += static_cast<std::size_t>(moved);
    if (head && from.head_got == sizeof(Frame)) begin_body(source);
  }
}

// The oldest receive of that source and tag: it has been posted before the sender was told to send.
SocketChannel::Expected SocketChannel::take_expected(int source, int tag, std::size_t bytes) {
  const auto waiting = expected_.find({source, tag});
  ORRERY_CHECK(waiting != expected_.end() && waiting->second.front().room.size() == bytes,
               "a payload of {} B from rank {}, tag {}, that nobody waits for", bytes, source, tag);
  const Expected oldest = waiting->second.front();
  waiting->second.pop_front();
  if (waiting->second.empty()) expected_.erase(waiting);
  return oldest;
}

void SocketChannel::begin_body(int source) {
  Peer& from = peer(source);
  from.body_got = 0;
  switch (from.frame.kind) {
    case Frame::Kind::kMessage:
      from.message.resize(from.frame.bytes);
      from.room = from.message;
      break;
    case Frame::Kind::kPayload: {
      const Expected expected = take_expected(source, from.frame.tag, from.frame.bytes);
      from.room = expected.room;
      from.transfer = expected.transfer;
      break;
    }
    case Frame::Kind::kGoodbye: from.said_goodbye = true; break;
  }
}

void SocketChannel::end_body(int source) {
  Peer& from = peer(source);
  if (from.frame.kind == Frame::Kind::kMessage) {
    arrived_.push_back({source, std::move(from.message)});
    from.message = {};
  } else {
    open_.erase(from.transfer);
  }
  from.head_got = 0;
}

}  // namespace

std::unique_ptr<MessageChannel> socket_channel(const Launch& launch,
                                               std::chrono::milliseconds patience) {
  return std::make_unique<SocketChannel>(launch, patience);
}

}  // namespace orrery
