#include "tests/nccl_shim/links.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace orrery_shim {
namespace {

using Clock = std::chrono::steady_clock;

struct Hello {
  int rank = 0;
  int ranks = 0;
};

// What a receiver answers to a Call.
struct Verdict {
  char text[504] = {};  // empty: agreed
};

class Left : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what);
}

sockaddr_un address_of(const std::string& name, int rank, socklen_t& length) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string whole = name + "-" + std::to_string(rank);
  // A first byte of 0 means the abstract name space.
  std::memcpy(address.sun_path + 1, whole.data(), whole.size());
  length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + whole.size());
  return address;
}

void transfer_whole(int socket, void* data, std::size_t bytes, bool out, const char* what) {
  auto* at = static_cast<char*>(data);
  while (bytes > 0) {
    const ssize_t moved =
        out ? ::send(socket, at, bytes, MSG_NOSIGNAL) : ::recv(socket, at, bytes, 0);
    if (moved < 0 && errno == EINTR) continue;
    if (moved <= 0) fail(std::string("a member is gone: ") + what);
    at += moved;
    bytes -= static_cast<std::size_t>(moved);
  }
}

// A piece of memory on its way through a socket that does not block.
struct Flow {
  std::byte* at = nullptr;
  std::size_t left = 0;

  template <class Value>
  void aim(Value& value) {
    at = reinterpret_cast<std::byte*>(&value);
    left = sizeof value;
  }
  // Whether anything moved.
  bool step(int socket, bool out, int peer) {
    if (left == 0) return false;
    const ssize_t moved = out ? ::send(socket, at, left, MSG_NOSIGNAL | MSG_DONTWAIT)
                              : ::recv(socket, at, left, MSG_DONTWAIT);
    if (moved < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return false;
    if (moved <= 0) throw Left("rank " + std::to_string(peer) + " has left the communicator");
    at += moved;
    left -= static_cast<std::size_t>(moved);
    return true;
  }
};

// One end of a link in an exchange: call, verdict, data, for one Give or Take after the other.
struct End {
  int socket = -1;
  int peer = 0;
  bool gives = false;
  std::vector<const Give*> give;
  std::vector<const Take*> take;
  std::size_t next = 0;
  enum class Phase { kCall, kVerdict, kData } phase = Phase::kCall;
  Flow flow;
  Call call;
  Verdict verdict;

  std::size_t count() const { return gives ? give.size() : take.size(); }
  bool through() const { return next == count(); }
  // Whether the flow of this phase leaves this rank.
  bool out() const { return gives == (phase != Phase::kVerdict); }

  void begin() {
    if (through()) return;
    phase = Phase::kCall;
    if (gives) call = give[next]->call;
    flow.aim(call);
  }
  // Moves what can be moved; whether anything was. Both sides of a disagreement may find it, and
  // the other one may be gone by the time this one answers: what they disagree on is what counts.
  bool step() try {
    bool moved = false;
    while (!through()) {
      if (flow.left > 0) {
        if (!flow.step(socket, out(), peer)) return moved;
        moved = true;
        continue;
      }
      advance();
    }
    return moved;
  } catch (const Left&) {
    if (!gives && verdict.text[0] != 0) fail(verdict.text);
    throw;
  }
  void advance() {
    switch (phase) {
      case Phase::kCall:
        phase = Phase::kVerdict;
        if (!gives) {
          verdict = {};
          const std::string text = disagreement(call, take[next]->call);
          std::memcpy(verdict.text, text.data(), std::min(text.size(), sizeof verdict.text - 1));
        }
        flow.aim(verdict);
        break;
      case Phase::kVerdict:
        if (verdict.text[0] != 0) fail(verdict.text);
        phase = Phase::kData;
        flow.at = gives ? const_cast<std::byte*>(give[next]->data) : take[next]->room;
        flow.left = gives ? give[next]->bytes : take[next]->bytes;
        break;
      case Phase::kData:
        ++next;
        begin();
        break;
    }
  }
  std::string waiting_text() const {
    const Call& own = gives ? give[next]->call : take[next]->call;
    return call_text(own) + " has found no counterpart on rank " + std::to_string(peer);
  }
};

}  // namespace

Links::Links(const std::string& name, int ranks, int rank, double patience_s,
             const std::atomic<bool>& given_up)
    : rank_(rank),
      patience_s_(patience_s),
      to_(static_cast<std::size_t>(ranks), -1),
      from_(static_cast<std::size_t>(ranks), -1) {
  const auto deadline = Clock::now() + std::chrono::duration<double>(patience_s);
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t length = 0;
  sockaddr_un own = address_of(name, rank, length);
  if (listener < 0 || ::bind(listener, reinterpret_cast<sockaddr*>(&own), length) != 0 ||
      ::listen(listener, ranks) != 0)
    fail("rank " + std::to_string(rank) + " joins a communicator twice: " + std::strerror(errno));
  try {
    Hello hello{rank, ranks};
    for (int peer = 0; peer < ranks; ++peer) {
      if (peer == rank) continue;
      const int link = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      to_[static_cast<std::size_t>(peer)] = link;
      sockaddr_un address = address_of(name, peer, length);
      while (::connect(link, reinterpret_cast<sockaddr*>(&address), length) != 0) {
        if (Clock::now() > deadline || given_up)
          fail("rank " + std::to_string(peer) + " has not joined the communicator");
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      transfer_whole(link, &hello, sizeof hello, true, "greeting");
    }
    for (int other = 1; other < ranks; ++other) {
      pollfd waiting{listener, POLLIN, 0};
      while (::poll(&waiting, 1, 100) != 1) {
        if (Clock::now() > deadline || given_up) fail("a member has not joined the communicator");
      }
      const int link = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      Hello theirs;
      transfer_whole(link, &theirs, sizeof theirs, false, "greeting");
      if (theirs.ranks != ranks) {
        fail("mismatched communicators: rank " + std::to_string(theirs.rank) + " counts " +
             std::to_string(theirs.ranks) + " members, rank " + std::to_string(rank) + " counts " +
             std::to_string(ranks));
      }
      from_[static_cast<std::size_t>(theirs.rank)] = link;
    }
  } catch (...) {
    ::close(listener);
    close_all();
    throw;
  }
  ::close(listener);
}

Links::~Links() {
  close_all();
}

void Links::close_all() {
  for (std::vector<int>* sockets : {&to_, &from_}) {
    for (int& socket : *sockets) {
      if (socket >= 0) ::close(socket);
      socket = -1;
    }
  }
}

void Links::cut() {
  cut_ = true;
  for (const std::vector<int>* sockets : {&to_, &from_}) {
    for (int socket : *sockets) {
      if (socket >= 0) ::shutdown(socket, SHUT_RDWR);
    }
  }
}

void Links::exchange(const std::vector<Give>& gives, const std::vector<Take>& takes) {
  std::vector<End> ends(to_.size() * 2);
  for (std::size_t peer = 0; peer < to_.size(); ++peer) {
    ends[2 * peer].gives = true;
    ends[2 * peer].socket = to_[peer];
    ends[2 * peer + 1].socket = from_[peer];
    ends[2 * peer].peer = ends[2 * peer + 1].peer = static_cast<int>(peer);
  }
  for (const Give& give : gives)
    ends[2 * static_cast<std::size_t>(give.peer)].give.push_back(&give);
  for (const Take& take : takes)
    ends[2 * static_cast<std::size_t>(take.peer) + 1].take.push_back(&take);
  for (End& end : ends) end.begin();

  auto last_moved = Clock::now();
  for (;;) {
    bool moved = false;
    std::vector<pollfd> waiting;
    const End* first = nullptr;
    for (End& end : ends) {
      moved = end.step() || moved;
      if (end.through()) continue;
      if (first == nullptr) first = &end;
      waiting.push_back({end.socket, static_cast<short>(end.out() ? POLLOUT : POLLIN), 0});
    }
    if (waiting.empty()) return;
    if (cut_) fail("the communicator has been aborted");
    if (moved) last_moved = Clock::now();
    if (std::chrono::duration<double>(Clock::now() - last_moved).count() > patience_s_)
      fail(first->waiting_text());
    ::poll(waiting.data(), waiting.size(), 100);
  }
}

}  // namespace orrery_shim
