#include "realrun/socket_mesh.hpp"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>
#include <thread>

#include "core/error.hpp"

namespace orrery {
namespace {

using std::chrono::steady_clock;

constexpr char kMagic[8] = {'o', 'r', 'r', 'e', 'r', 'y', '-', '1'};
constexpr int kRoundTrips = 32;

double steady_seconds() {
  return std::chrono::duration<double>(steady_clock::now().time_since_epoch()).count();
}

// What a process says first on a connection.
struct Hello {
  char magic[8] = {};
  std::int32_t rank = 0, size = 0;
  std::int32_t port = 0;  // where it listens
  std::int32_t padding = 0;
  std::uint64_t node = 0;  // equal for processes of one node
};
// Where a rank listens.
struct Place {
  char address[64] = {};
  std::int32_t port = 0;
};
// What rank 0 tells of its clock.
struct ClockStart {
  double epoch = 0;
  std::uint64_t node = 0;
};

std::uint64_t node_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id.empty() ? 0 : std::hash<std::string>()(id);
}

class Meeting {
 public:
  Meeting(const Launch& launch, std::chrono::milliseconds patience)
      : launch_(launch), deadline_(steady_clock::now() + patience), patience_(patience) {
    mesh_.sockets.assign(static_cast<std::size_t>(launch.size), -1);
  }
  ~Meeting() {
    close_socket(listener_);
    for (int socket : mesh_.sockets) close_socket(socket);
  }
  Meeting(const Meeting&) = delete;
  Meeting& operator=(const Meeting&) = delete;

  SocketMesh meet() {
    mesh_.epoch = steady_seconds();
    if (launch_.size == 1) return take();
    listen_at(launch_.rank == 0 ? launch_.port : 0);
    std::vector<Place> places(mesh_.sockets.size());
    if (launch_.rank == 0) {
      for (int other = 1; other < launch_.size; ++other) accept_one(&places);
      for (int other = 1; other < launch_.size; ++other) {
        move(other, places.data(), places.size() * sizeof(Place), true);
        tell_time(other);
      }
    } else {
      connect_to(0, launch_.address, launch_.port);
      move(0, places.data(), places.size() * sizeof(Place), false);
      ask_time();
      for (int other = 1; other < launch_.rank; ++other) {
        const Place& place = places[static_cast<std::size_t>(other)];
        connect_to(other, place.address, place.port);
      }
      for (int other = launch_.rank + 1; other < launch_.size; ++other) accept_one(nullptr);
    }
    return take();
  }

 private:
  static void close_socket(int socket) {
    if (socket >= 0) ::close(socket);
  }
  SocketMesh take() {
    SocketMesh mesh = std::move(mesh_);
    mesh_.sockets.clear();
    return mesh;
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw EnvironmentError(fmt::format("rank {} of {}: {}", launch_.rank, launch_.size, what));
  }
  int milliseconds_left() const {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - steady_clock::now());
    return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  }
  std::string missing() const {
    std::vector<int> ranks;
    for (int other = 0; other < launch_.size; ++other) {
      if (other != launch_.rank && mesh_.sockets[static_cast<std::size_t>(other)] < 0)
        ranks.push_back(other);
    }
    return fmt::format("{}", fmt::join(ranks, ","));
  }

  void listen_at(int port) {
    listener_ = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool six = listener_ >= 0;  // serves IPv4 too
    if (!six) listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1, off = 0;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in6 all6{};
    all6.sin6_family = AF_INET6;
    all6.sin6_port = htons(static_cast<std::uint16_t>(port));
    sockaddr_in all4{};
    all4.sin_family = AF_INET;
    all4.sin_port = all6.sin6_port;
    if (six) ::setsockopt(listener_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    const int bound = six ? ::bind(listener_, reinterpret_cast<sockaddr*>(&all6), sizeof all6)
                          : ::bind(listener_, reinterpret_cast<sockaddr*>(&all4), sizeof all4);
    if (bound != 0 || ::listen(listener_, launch_.size) != 0) {
      fail(fmt::format("cannot listen at port {}: {}\n  hint: set another MASTER_PORT", port,
                       std::strerror(errno)));
    }
    socklen_t length = sizeof all6;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&all6), &length);
    own_port_ = ntohs(all6.sin6_port);  // at the same place in both kinds of address
  }

  Hello own_hello() const {
    Hello hello;
    std::memcpy(hello.magic, kMagic, sizeof kMagic);
    hello.rank = launch_.rank;
    hello.size = launch_.size;
    hello.port = own_port_;
    hello.node = node_id();
    return hello;
  }

  // The whole of it, or until the deadline.
  bool try_move(int socket, void* data, std::size_t bytes, bool out) const {
    auto* at = static_cast<char*>(data);
    while (bytes > 0) {
      pollfd ready{socket, static_cast<short>(out ? POLLOUT : POLLIN), 0};
      if (::poll(&ready, 1, milliseconds_left()) <= 0) return false;
      const ssize_t moved =
          out ? ::send(socket, at, bytes, MSG_NOSIGNAL) : ::recv(socket, at, bytes, 0);
      if (moved < 0 && errno == EINTR) continue;
      if (moved <= 0) return false;
      at += moved;
      bytes -= static_cast<std::size_t>(moved);
    }
    return true;
  }
  void move(int other, void* data, std::size_t bytes, bool out) const {
    if (!try_move(mesh_.sockets[static_cast<std::size_t>(other)], data, bytes, out))
      fail(fmt::format("rank {} has gone while the ranks were meeting", other));
  }

  static void keep(int socket) {
    const int on = 1;
    ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }

  // A connection of a rank of this run; others (somebody who tries ports) are closed.
  void accept_one(std::vector<Place>* places) {
    for (;;) {
      pollfd ready{listener_, POLLIN, 0};
      if (::poll(&ready, 1, milliseconds_left()) <= 0) {
        fail(fmt::format("ranks {} have not come to {} within {} s\n  hint: start {} processes",
                         missing(), launch_.rank == 0 ? "the meeting" : "connect",
                         patience_.count() / 1000, launch_.size));
      }
      sockaddr_storage from{};
      socklen_t length = sizeof from;
      const int socket =
          ::accept4(listener_, reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC);
      if (socket < 0) continue;
      Hello hello;
      if (!try_move(socket, &hello, sizeof hello, false) ||
          std::memcmp(hello.magic, kMagic, sizeof kMagic) != 0) {
        ::close(socket);
        continue;
      }
      const bool fits = hello.size == launch_.size && hello.rank > 0 && hello.rank < launch_.size;
      if (!fits || mesh_.sockets[static_cast<std::size_t>(hello.rank)] >= 0) {
        ::close(socket);
        fail(fmt::format("a process came that calls itself rank {} of {}{}", hello.rank, hello.size,
                         fits ? ": there is one already" : ""));
      }
      keep(socket);
      mesh_.sockets[static_cast<std::size_t>(hello.rank)] = socket;
      if (places != nullptr) {
        Place& place = (*places)[static_cast<std::size_t>(hello.rank)];
        place.port = hello.port;
        ::getnameinfo(reinterpret_cast<sockaddr*>(&from), length, place.address,
                      sizeof place.address, nullptr, 0, NI_NUMERICHOST);
      }
      return;
    }
  }

  void connect_to(int other, const std::string& address, int port) {
    std::string why = "it does not answer";
    while (milliseconds_left() > 0) {
      addrinfo wanted{};
      wanted.ai_socktype = SOCK_STREAM;
      addrinfo* found = nullptr;
      const int code =
          ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &wanted, &found);
      if (code != 0) why = ::gai_strerror(code);
      for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
        const int socket = ::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (socket < 0) continue;
        Hello hello = own_hello();
        if (::connect(socket, at->ai_addr, at->ai_addrlen) == 0 &&
            try_move(socket, &hello, sizeof hello, true)) {
          ::freeaddrinfo(found);
          keep(socket);
          mesh_.sockets[static_cast<std::size_t>(other)] = socket;
          return;
        }
        why = std::strerror(errno);
        ::close(socket);
      }
      if (found != nullptr) ::freeaddrinfo(found);
      // Rank 0 may not listen yet.
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    fail(fmt::format("rank {} cannot be reached at {} port {} within {} s: {}", other, address,
                     port, patience_.count() / 1000, why));
  }

  void tell_time(int other) {
    ClockStart start{mesh_.epoch, node_id()};
    move(other, &start, sizeof start, true);
    for (int trip = 0; trip < kRoundTrips; ++trip) {
      double time = 0;
      move(other, &time, sizeof time, false);
      time = steady_seconds();
      move(other, &time, sizeof time, true);
    }
  }
  // As MPI's channel does: offset = rank 0's time in its answer - the middle of the round trip.
  void ask_time() {
    ClockStart start;
    move(0, &start, sizeof start, false);
    double fastest = std::numeric_limits<double>::infinity();
    double offset = 0;
    for (int trip = 0; trip < kRoundTrips; ++trip) {
      double theirs = 0;
      double asked = steady_seconds();
      move(0, &asked, sizeof asked, true);
      move(0, &theirs, sizeof theirs, false);
      const double answered = steady_seconds();
      if (answered - asked >= fastest) continue;
      fastest = answered - asked;
      offset = theirs - (asked + answered) / 2;
    }
    const bool same_node = start.node != 0 && start.node == node_id();
    mesh_.epoch = start.epoch - (same_node ? 0 : offset);
  }

  const Launch& launch_;
  const steady_clock::time_point deadline_;
  const std::chrono::milliseconds patience_;
  SocketMesh mesh_;
  int listener_ = -1;
  int own_port_ = 0;
};

}  // namespace

SocketMesh connect_mesh(const Launch& launch, std::chrono::milliseconds patience) {
  return Meeting(launch, patience).meet();
}

}  // namespace orrery
