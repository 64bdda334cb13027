// The protocol of the MPI transport over a network in memory, where ranks can also fall silent; the
// same checks run over MPI itself in mpi_ranks.cpp.
#include "realrun/channel_transport.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <list>
#include <mutex>

#include "core/error.hpp"
#include "realrun/mpi_channel.hpp"
#include "tests/realrun/rank_checks.hpp"
#include "tests/realrun/thread_ranks.hpp"

namespace orrery {
namespace {

std::vector<std::string> nothing_thrown(int ranks) {
  return std::vector<std::string>(static_cast<std::size_t>(ranks));
}

// Messages and payloads of a few ranks, under one lock. Payloads move when their second side comes.
class Network {
 public:
  explicit Network(int ranks) : mailboxes_(static_cast<std::size_t>(ranks)) {}

  std::unique_ptr<MessageChannel> channel(int rank) {
    return std::make_unique<Channel>(*this, rank);
  }
  int given_up() const { return given_up_; }
  std::size_t waiting_payloads() const { return payloads_.size(); }

 private:
  struct Payload {
    bool is_send;
    int source, target, tag;
    const std::byte* data;
    std::byte* room;
    std::size_t bytes;
    std::shared_ptr<bool> finished;
  };

  class Channel final : public MessageChannel {
   public:
    Channel(Network& network, int rank) : network_(network), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(network_.mailboxes_.size()); }
    Seconds now() const override {
      return Seconds{
          std::chrono::duration<double>(std::chrono::steady_clock::now() - network_.epoch_)
              .count()};
    }
    void send(int target, std::vector<std::byte> message) override {
      const std::lock_guard lock(network_.mutex_);
      network_.mailboxes_[static_cast<std::size_t>(target)].push_back({rank_, std::move(message)});
    }
    std::optional<Message> receive() override {
      const std::lock_guard lock(network_.mutex_);
      auto& mailbox = network_.mailboxes_[static_cast<std::size_t>(rank_)];
      if (mailbox.empty()) return std::nullopt;
      Message message = std::move(mailbox.front());
      mailbox.pop_front();
      return message;
    }
    Transfer start_send(int target, int tag, std::span<const std::byte> data) override {
      return start({true, rank_, target, tag, data.data(), nullptr, data.size(), {}});
    }
    Transfer start_receive(int source, int tag, std::span<std::byte> room) override {
      return start({false, source, rank_, tag, nullptr, room.data(), room.size(), {}});
    }
    bool finished(Transfer transfer) override {
      const std::lock_guard lock(network_.mutex_);
      return *transfers_[static_cast<std::size_t>(transfer)];
    }
    bool idle() override { return true; }
    void give_up() override {
      const std::lock_guard lock(network_.mutex_);
      ++network_.given_up_;
    }

   private:
    Transfer start(Payload payload) {
      const std::lock_guard lock(network_.mutex_);
      payload.finished = std::make_shared<bool>(false);
      transfers_.push_back(payload.finished);
      const auto other = std::find_if(
          network_.payloads_.begin(), network_.payloads_.end(), [&](const Payload& waiting) {
            return waiting.is_send != payload.is_send && waiting.source == payload.source &&
                   waiting.target == payload.target && waiting.tag == payload.tag;
          });
      if (other == network_.payloads_.end()) {
        network_.payloads_.push_back(payload);
      } else {
        expect(other->bytes == payload.bytes, "payloads of different sizes met");
        std::memcpy(payload.is_send ? other->room : payload.room,
                    payload.is_send ? payload.data : other->data, payload.bytes);
        *other->finished = *payload.finished = true;
        network_.payloads_.erase(other);
      }
      return static_cast<Transfer>(transfers_.size()) - 1;
    }

    Network& network_;
    const int rank_;
    std::vector<std::shared_ptr<bool>> transfers_;
  };

  const std::chrono::steady_clock::time_point epoch_ = std::chrono::steady_clock::now();
  std::mutex mutex_;
  std::vector<std::deque<MessageChannel::Message>> mailboxes_;
  std::list<Payload> payloads_;
  int given_up_ = 0;
};

std::vector<std::string> run_channel_ranks(int ranks, const std::function<void(Transport&)>& body) {
  Network network(ranks);
  std::vector<std::string> thrown = run_threads(ranks, [&](int rank) {
    const std::unique_ptr<Transport> transport =
        std::make_unique<ChannelTransport>(network.channel(rank));
    try {
      body(*transport);
    } catch (const std::exception& error) {
      transport->abort(error.what());
      throw;
    }
  });
  CHECK(network.given_up() == 0);
  CHECK(network.waiting_payloads() == 0);
  return thrown;
}

TEST_CASE("over a channel, messages arrive whole and in order of their tag") {
  const int ranks = GENERATE(1, 2, 5);
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(ranks, seed);
    CHECK(run_channel_ranks(ranks, [&](Transport& transport) {
            check_messages(transport, seed);
          }) == nothing_thrown(ranks));
  }
}

TEST_CASE("over a channel, group operations and gather give the serial results") {
  const int ranks = GENERATE(1, 2, 5);
  CAPTURE(ranks);
  CHECK(run_channel_ranks(ranks, [&](Transport& transport) {
          check_operations(transport, 3);
          check_gather(transport);
        }) == nothing_thrown(ranks));
}

TEST_CASE("over a channel, sides that disagree both hear it and can go on") {
  CHECK(run_channel_ranks(2, check_mismatch) == nothing_thrown(2));
}

// Afterwards no payload waits for its other side: what was matched has arrived, the rest was never
// begun (run_channel_ranks looks).
TEST_CASE("over a channel, abort reaches every rank and nothing stays under way") {
  for (int ranks : {2, 4, 7}) {
    CAPTURE(ranks);
    CHECK(run_channel_ranks(ranks, check_abort) == nothing_thrown(ranks));
  }
}

TEST_CASE("a rank that leaves with something posted aborts the others") {
  const std::vector<std::string> thrown = run_channel_ranks(2, [](Transport& transport) {
    static std::byte room[4];
    if (transport.rank() == 0) {
      transport.post_receive(1, 5, room);
    } else {
      const Ticket receive = transport.post_receive(0, 6, room);
      finish(transport, std::span(&receive, 1));
    }
  });
  CHECK(thrown[0] == "");
  CHECK_THAT(thrown[1], Catch::StartsWith("rank 0 failed: ended while it had posted receive from "
                                          "rank 1, tag 5, 4 B, message"));
}

TEST_CASE("a message for or from a rank that has ended is refused") {
  const std::vector<std::string> thrown = run_channel_ranks(3, [](Transport& transport) {
    std::byte bytes[4] = {};
    if (transport.rank() == 0) return;
    expect_contains(refusal(transport, transport.post_receive(0, 6, bytes)),
                    {"rank 0 has ended its run", "receive from rank 0, tag 6, 4 B"});
    expect_contains(refusal(transport, transport.post_send(0, 7, bytes)),
                    {"rank 0 has ended its run", "send to rank 0, tag 7, 4 B"});
  });
  CHECK(thrown == nothing_thrown(3));
}

// Rank 1 exists, but nothing runs there.
TEST_CASE("an abort that a rank does not answer ends after the answer time") {
  Network network(2);
  {
    const std::unique_ptr<Transport> transport =
        std::make_unique<ChannelTransport>(network.channel(0), std::chrono::milliseconds(5));
    std::byte room[4];
    const Ticket receive = transport->post_receive(1, 0, room);
    transport->abort("alone");
    CHECK_THROWS_WITH(transport->done(receive), "rank 0 failed: alone");
  }
  CHECK(network.given_up() == 1);
}

TEST_CASE("ring ends a wait over a channel") {
  Network network(1);
  const std::unique_ptr<Transport> transport =
      std::make_unique<ChannelTransport>(network.channel(0));
  const std::uint64_t seen = transport->events();
  std::thread other([&] { transport->ring(); });
  transport->wait(seen);
  CHECK(transport->events() == seen + 1);
  other.join();
}

TEST_CASE("what mpirun, mpiexec and srun set tells that they have started this process") {
  const std::vector<const char*> names = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK",
                                          "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"};
  std::map<std::string, std::string> before;
  for (const char* name : names) {
    if (const char* value = std::getenv(name)) before[name] = value;
    unsetenv(name);
  }
  CHECK_FALSE(launched_by_mpi());
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}) {
    CAPTURE(name);
    setenv(name, "2", 1);
    CHECK(launched_by_mpi());
    unsetenv(name);
  }
  setenv("SLURM_PROCID", "0", 1);
  CHECK_FALSE(launched_by_mpi());  // a batch script
  setenv("SLURM_STEP_NUM_TASKS", "1", 1);
  CHECK_FALSE(launched_by_mpi());
  setenv("SLURM_STEP_NUM_TASKS", "4", 1);
  CHECK(launched_by_mpi());
  for (const char* name : names) {
    unsetenv(name);
    if (before.contains(name)) setenv(name, before[name].c_str(), 1);
  }
}

}  // namespace
}  // namespace orrery
