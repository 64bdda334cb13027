// What both transports share: the matching queue, the words of messages, finish() and gather().
#include "realrun/transport.hpp"

#include <catch2/catch.hpp>

#include "realrun/match_queue.hpp"
#include "tests/realrun/rank_checks.hpp"
#include "tests/realrun/thread_ranks.hpp"

namespace orrery {
namespace {

Posted send_of(int source, std::int64_t tag, Ticket ticket, std::size_t bytes = 8) {
  return {true, source, 9, tag, bytes, Label("rows"), ticket, Seconds{1}};
}
Posted receive_of(int source, std::int64_t tag, Ticket ticket, std::size_t bytes = 8) {
  return {false, 9, source, tag, bytes, Label("rows"), ticket, Seconds{1}};
}

TEST_CASE("a send matches the oldest receive of its source and tag, and the other way round") {
  MatchQueue queue;
  CHECK_FALSE(queue.add_receive(receive_of(3, 17, 1)));
  CHECK_FALSE(queue.add_receive(receive_of(3, 17, 2)));
  CHECK_FALSE(queue.add_receive(receive_of(3, 18, 3)));
  CHECK_FALSE(queue.add_send(send_of(4, 17, 10)));
  CHECK(queue.add_send(send_of(3, 17, 11))->ticket == 1);
  CHECK(queue.add_send(send_of(3, 18, 12))->ticket == 3);
  CHECK(queue.add_send(send_of(3, 17, 13))->ticket == 2);
  CHECK_FALSE(queue.add_send(send_of(3, 17, 14)));
  CHECK_FALSE(queue.add_send(send_of(3, 17, 15)));
  CHECK(queue.add_receive(receive_of(3, 17, 4))->ticket == 14);
  CHECK(queue.add_receive(receive_of(4, 17, 5))->ticket == 10);
  CHECK(queue.add_receive(receive_of(3, 17, 6))->ticket == 15);
}

TEST_CASE("tags that differ in any of their 64 bits do not match") {
  for (int bit = 0; bit < 63; ++bit) {
    CAPTURE(bit);
    MatchQueue queue;
    CHECK_FALSE(queue.add_receive(receive_of(3, 5, 1)));
    CHECK_FALSE(queue.add_send(send_of(3, 5 ^ (std::int64_t{1} << bit), 2)));
    CHECK(queue.add_send(send_of(3, 5, 3)));
  }
}

TEST_CASE("sizes and labels that differ are named with both ranks and the tag") {
  CHECK_FALSE(mismatch(send_of(3, 17, 1), receive_of(3, 17, 2)));
  CHECK(*mismatch(send_of(3, 17, 1, 4096), receive_of(3, 17, 2, 64)) ==
        "rank 3 sends 4096 B (rows) to rank 9, which expects 64 B (rows) from it, tag 17");
  Posted other = receive_of(3, 17, 2);
  other.label = Label("combine");
  CHECK(*mismatch(send_of(3, 17, 1), other) ==
        "rank 3 sends 8 B (rows) to rank 9, which expects 8 B (combine) from it, tag 17");
}

TEST_CASE("a label keeps its first 63 characters") {
  CHECK(Label("dispatch").text() == "dispatch");
  CHECK(Label(std::string(63, 'a')) == Label(std::string(64, 'a')));
  CHECK_FALSE(Label(std::string(63, 'a')) == Label(std::string(62, 'a')));
}

TEST_CASE("what is posted is described with rank, tag, size, label, age and state") {
  CHECK(posted_text(send_of(3, 17, 1, 4096), Seconds{3.14}) ==
        "send to rank 9, tag 17, 4096 B, rows (posted 2.1 s ago)");
  CHECK(posted_text(receive_of(3, kGroupTags + 8 * 5 + 1, 1), Seconds{1}, "matched") ==
        "receive from rank 3, operation 5 phase 1, 8 B, rows (posted 0.0 s ago, matched)");
  CHECK(tag_text(kGroupTags - 1) == "tag 2305843009213693951");
  CHECK(tag_text(-2) == "gather phase 1");
}

TEST_CASE("gather brings every rank's blob to rank 0, empty ones too") {
  for (int ranks : {1, 2, 5}) {
    CAPTURE(ranks);
    CHECK(run_ranks(ranks, check_gather) ==
          std::vector<std::string>(static_cast<std::size_t>(ranks)));
  }
}

// Rank 1's second ticket would wait for ever; its buffer goes when finish() throws.
TEST_CASE("finish aborts the run when one of its messages is refused") {
  const std::vector<std::string> thrown = run_ranks(3, [](Transport& transport) {
    std::vector<std::byte> bytes(20);
    if (transport.rank() == 0) {
      const Ticket send = transport.post_send(1, 5, std::span(bytes).first(10));
      finish(transport, std::span(&send, 1));
    } else if (transport.rank() == 1) {
      const Ticket tickets[] = {transport.post_receive(0, 5, bytes),
                                transport.post_receive(2, 6, bytes)};
      finish(transport, tickets);
    } else {
      const Ticket receive = transport.post_receive(0, 8, bytes);
      finish(transport, std::span(&receive, 1));
    }
  });
  // Ranks 0 and 1 hear of it by their ticket, or by the other's abort where that comes first.
  for (const std::string& text : thrown)
    CHECK_THAT(text, Catch::Contains("rank 0 sends 10 B (message) to rank 1, which expects 20 B"));
  CHECK_THAT(thrown[2], Catch::Contains(" failed: "));
}

}  // namespace
}  // namespace orrery
