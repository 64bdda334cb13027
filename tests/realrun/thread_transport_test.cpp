#include "realrun/thread_transport.hpp"

#include <atomic>
#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "tests/realrun/rank_checks.hpp"
#include "tests/realrun/thread_ranks.hpp"

namespace orrery {
namespace {

std::vector<std::string> nothing_thrown(int ranks) {
  return std::vector<std::string>(static_cast<std::size_t>(ranks));
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}
std::span<std::byte> room_of(std::string& text) {
  return std::as_writable_bytes(std::span(text));
}

TEST_CASE("messages in any order of posting arrive whole and in order of their tag") {
  const int ranks = GENERATE(1, 2, 3, 5, 8);
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    CAPTURE(ranks, seed);
    CHECK(run_ranks(ranks, [&](Transport& transport) { check_messages(transport, seed); }) ==
          nothing_thrown(ranks));
  }
}

// One thread may serve several endpoints, so the steps of one message can be told apart.
TEST_CASE("a message is done on both sides once it is matched and moved, not before") {
  ThreadWorld world(2);
  Transport& sender = world.endpoint(0);
  Transport& receiver = world.endpoint(1);
  std::string data = "forward";
  std::string room = ".......";

  const std::uint64_t at_first = sender.events();
  const Ticket send = sender.post_send(1, 17, bytes_of(data), "rows");
  CHECK_FALSE(sender.done(send));
  CHECK_FALSE(sender.matched_at(send));
  CHECK(sender.events() == at_first);
  CHECK_THAT(sender.pending(), Catch::StartsWith("send to rank 1, tag 17, 7 B, rows (posted 0.0"));
  CHECK(receiver.pending() == "");

  const Ticket other_tag = receiver.post_receive(0, 18, room_of(room), "rows");
  CHECK_FALSE(sender.matched_at(send));
  const std::uint64_t before = receiver.events();
  const Seconds earliest = receiver.now();
  const Ticket receive = receiver.post_receive(0, 17, room_of(room), "rows");
  CHECK(receiver.events() > before);
  CHECK(sender.events() == at_first);  // it can do nothing about it until its data has been moved
  CHECK(sender.matched_at(send) == receiver.matched_at(receive));
  CHECK(*sender.matched_at(send) >= earliest);
  CHECK(*sender.matched_at(send) <= receiver.now());
  CHECK_FALSE(sender.done(send));
  CHECK_FALSE(receiver.done(receive));
  CHECK(sender.movable_bytes() == 0);
  CHECK(receiver.movable_bytes() == 7);
  CHECK(room == ".......");
  CHECK_THAT(receiver.pending(),
             Catch::Contains("receive from rank 0, tag 18, 7 B, rows (posted") &&
                 Catch::Contains("; receive from rank 0, tag 17, 7 B") &&
                 Catch::EndsWith("s ago, matched)"));

  receiver.move();
  CHECK(sender.events() > at_first);
  CHECK(sender.done(send));
  CHECK(receiver.done(receive));
  CHECK(room == data);
  CHECK(receiver.movable_bytes() == 0);
  CHECK(sender.pending() == "");
  CHECK_FALSE(receiver.done(other_tag));
  CHECK(sender.matched_at(send).has_value());
  sender.release(send);
  CHECK_THROWS_AS(sender.done(send), Bug);
  CHECK_THROWS_AS(receiver.release(other_tag), Bug);
}

TEST_CASE("a message of no bytes is done when it is matched") {
  ThreadWorld world(2);
  const Ticket receive = world.endpoint(1).post_receive(0, 1, {});
  CHECK_FALSE(world.endpoint(1).done(receive));
  const Ticket send = world.endpoint(0).post_send(1, 1, {});
  CHECK(world.endpoint(0).done(send));
  CHECK(world.endpoint(1).done(receive));
  CHECK(world.endpoint(1).movable_bytes() == 0);
}

TEST_CASE("sides that disagree on size or label both hear it and can go on") {
  CHECK(run_ranks(2, check_mismatch) == nothing_thrown(2));
}

TEST_CASE("abort wakes every rank, with messages under way") {
  for (int ranks : {2, 4, 8}) {
    CAPTURE(ranks);
    CHECK(run_ranks(ranks, check_abort) == nothing_thrown(ranks));
  }
}

TEST_CASE("after abort every call of the worker throws, and the first reason stays") {
  ThreadWorld world(2);
  Transport& other = world.endpoint(1);
  std::string room = "..";
  const Ticket receive = other.post_receive(0, 1, room_of(room));
  world.endpoint(0).abort("no more memory");
  other.abort("a later reason");
  const std::string expected = "rank 0 failed: no more memory";
  CHECK_THROWS_WITH(other.done(receive), expected);
  CHECK_THROWS_WITH(other.wait(other.events()), expected);
  CHECK_THROWS_WITH(other.move(), expected);
  CHECK_THROWS_WITH(other.movable_bytes(), expected);
  CHECK_THROWS_WITH(other.post_send(0, 1, {}), expected);
  CHECK_THROWS_WITH(other.post_receive(0, 1, {}), expected);
  CHECK_THROWS_AS(world.endpoint(0).post_send(1, 1, bytes_of(room)), Aborted);
}

TEST_CASE("a refused ticket tells its mismatch even after an abort") {
  ThreadWorld world(2);
  std::string text = "ab";
  const Ticket receive = world.endpoint(1).post_receive(0, 1, room_of(text));
  const Ticket send = world.endpoint(0).post_send(1, 1, {});
  CHECK_THAT(world.endpoint(1).pending(), Catch::EndsWith("ago, refused)"));
  world.endpoint(1).abort("mismatch");
  CHECK_THROWS_AS(world.endpoint(0).done(send), TransportError);
  CHECK_THROWS_AS(world.endpoint(1).done(receive), TransportError);
}

TEST_CASE("ring ends a wait of its endpoint, and one that came before is not lost") {
  ThreadWorld world(2);
  Transport& transport = world.endpoint(0);
  const std::uint64_t seen = transport.events();
  transport.ring();
  transport.wait(seen);
  CHECK(transport.events() == seen + 1);
  CHECK(world.endpoint(1).events() == 0);

  // Two threads pass the word to and fro, each woken only by the other.
  constexpr std::uint64_t kRounds = 1000;
  const std::vector<std::string> thrown = run_ranks(2, [&](Transport& own) {
    Transport& other = world.endpoint(1 - own.rank());
    Transport& mine = world.endpoint(own.rank());
    const std::uint64_t start = own.rank() == 0 ? seen + 1 : 0;
    for (std::uint64_t round = 0; round < kRounds; ++round) {
      if (own.rank() == 0) other.ring();
      mine.wait(start + round);
      if (own.rank() == 1) other.ring();
    }
  });
  CHECK(thrown == nothing_thrown(2));
  CHECK(world.endpoint(1).events() == kRounds);
}

TEST_CASE("several threads may ring, ask and abort while the worker works") {
  ThreadWorld world(2);
  std::atomic<int> rings = 0;
  const std::vector<std::string> thrown = run_threads(4, [&](int thread) {
    Transport& transport = world.endpoint(thread % 2);
    if (thread < 2) {
      check_messages(transport, 11);
      while (rings < 2000) transport.wait(transport.events() - 1);
      if (thread == 0) transport.abort("the end");
    } else {
      for (; rings < 2000; ++rings) {
        transport.ring();
        expect(transport.now() >= Seconds{0} && transport.pending().size() < 1'000'000, "asked");
      }
    }
  });
  // Rank 1 may have ended its work before, or hear of the abort in its last wait.
  CHECK((thrown[1].empty() || thrown[1] == "rank 0 failed: the end"));
  CHECK(thrown[0] + thrown[2] + thrown[3] == "");
}

TEST_CASE("all endpoints read one clock") {
  ThreadWorld world(3);
  const Seconds first = world.endpoint(0).now();
  const Seconds second = world.endpoint(2).now();
  const Seconds third = world.endpoint(1).now();
  CHECK(first <= second);
  CHECK(second <= third);
  CHECK(first >= Seconds{0});
}

TEST_CASE("a rank that does not exist is a bug") {
  ThreadWorld world(2);
  CHECK_THROWS_AS(world.endpoint(2), Bug);
  CHECK_THROWS_AS(world.endpoint(0).post_send(2, 0, {}), Bug);
  CHECK_THROWS_AS(world.endpoint(0).post_receive(-1, 0, {}), Bug);
}

}  // namespace
}  // namespace orrery
