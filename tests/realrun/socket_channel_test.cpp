#include "realrun/socket_channel.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "tests/realrun/socket_ranks.hpp"

namespace orrery {

using Catch::Matchers::Contains;

TEST_CASE("over sockets, messages, group operations and gather work as over threads") {
  const int ranks = GENERATE(1, 2, 5);
  CAPTURE(ranks);
  CHECK(run_socket_ranks(ranks, [](Transport& transport) {
          for (std::uint64_t seed = 1; seed <= 3; ++seed) check_messages(transport, seed);
          check_operations(transport, 3);
          check_gather(transport);
        }) == std::vector<std::string>(static_cast<std::size_t>(ranks)));
}

TEST_CASE("over sockets, disagreement and abort are heard on all sides") {
  CHECK(run_socket_ranks(2, check_mismatch) == std::vector<std::string>(2));
  CHECK(run_socket_ranks(4, check_abort) == std::vector<std::string>(4));
}

TEST_CASE("ranks that do not come are named when the patience is over") {
  const int port = free_port();
  const auto thrown = run_threads(2, [&](int rank) {
    socket_channel(socket_launch(rank, 4, port), std::chrono::milliseconds(300));
  });
  CHECK_THAT(thrown[0], Contains("rank 0 of 4: ranks 2,3 have not come"));
  CHECK_THAT(thrown[1], Contains("rank 1 of 4: rank 0 has gone while the ranks were meeting"));
}

TEST_CASE("a meeting point that does not exist is named") {
  Launch launch = socket_launch(1, 2, free_port());
  CHECK_THROWS_WITH(socket_channel(launch, std::chrono::milliseconds(100)),
                    Contains("rank 0 cannot be reached at localhost port"));
}

TEST_CASE("processes that count differently do not meet") {
  const int port = free_port();
  const auto thrown = run_threads(2, [&](int rank) {
    socket_channel(socket_launch(rank, 2 + rank, port), std::chrono::seconds(5));
  });
  CHECK_THAT(thrown[0], Contains("calls itself rank 1 of 3"));
}

TEST_CASE("a rank whose process ends is missed") {
  const int port = free_port();
  const auto thrown = run_threads(2, [&](int rank) {
    auto channel = socket_channel(socket_launch(rank, 2, port), std::chrono::seconds(5));
    if (rank == 1) return channel->give_up();  // closes without a goodbye, as the kernel would
    ChannelTransport transport(std::move(channel), std::chrono::milliseconds(100));
    std::byte room[4];
    const Ticket ticket = transport.post_receive(1, 0, room, "message");
    try {
      finish(transport, std::span(&ticket, 1));
    } catch (const EnvironmentError& error) {
      transport.abort(error.what());  // does not fail for the same reason once more
      throw;
    }
  });
  CHECK_THAT(thrown[0], Contains("lost its connection to rank 1"));
  CHECK(thrown[1] == "");
}

}  // namespace orrery
