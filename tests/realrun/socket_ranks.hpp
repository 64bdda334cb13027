#pragma once
// Ranks that are threads but talk over sockets, as processes do that torchrun or srun has started.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "realrun/channel_transport.hpp"
#include "realrun/socket_channel.hpp"
#include "tests/realrun/rank_checks.hpp"
#include "tests/realrun/thread_ranks.hpp"

namespace orrery {

// A port of this machine that nobody listens at now.
inline int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  socklen_t length = sizeof address;
  const bool found = ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                     ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  ::close(socket);
  expect(found, "no free port");
  return ntohs(address.sin_port);
}

inline Launch socket_launch(int rank, int ranks, int port) {
  Launch launch;
  launch.kind = Launch::Kind::kSockets;
  launch.rank = launch.local_rank = rank;
  launch.size = ranks;
  launch.address = "localhost";
  launch.port = port;
  return launch;
}

// `dress` makes of a rank's sockets the channel that its transport gets.
inline std::vector<std::string> run_socket_ranks(
    int ranks, const std::function<void(Transport&)>& body,
    const std::function<std::unique_ptr<MessageChannel>(std::unique_ptr<MessageChannel>)>& dress =
        [](std::unique_ptr<MessageChannel> sockets) { return sockets; }) {
  const int port = free_port();
  return run_threads(ranks, [&](int rank) {
    ChannelTransport transport(
        dress(socket_channel(socket_launch(rank, ranks, port), std::chrono::seconds(20))));
    try {
      body(transport);
    } catch (const std::exception& error) {
      transport.abort(error.what());
      throw;
    }
  });
}

}  // namespace orrery
