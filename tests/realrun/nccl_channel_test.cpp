// The transport over NCCL's calls, with the shim library and ranks that are threads.
#include "realrun/nccl_channel.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"
#include "realrun/nccl_communicator.hpp"
#include "tests/realrun/socket_ranks.hpp"

namespace orrery {
namespace {

using Catch::Matchers::Contains;

std::vector<std::string> nothing(int ranks) {
  return std::vector<std::string>(static_cast<std::size_t>(ranks));
}

std::vector<int> iota(int ranks) {
  std::vector<int> all(static_cast<std::size_t>(ranks));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// A pair for every message that can be, and these groups.
Communicators all_pairs(int ranks, std::vector<std::vector<int>> groups) {
  Communicators all;
  all.groups = std::move(groups);
  for (int source = 0; source < ranks; ++source) {
    for (int target = 0; target < ranks; ++target) {
      if (source != target) all.pairs.emplace_back(source, target);
    }
  }
  return all;
}

std::vector<std::string> run_nccl_ranks(int ranks, const Communicators& communicators,
                                        const std::function<void(Transport&)>& body) {
  const NcclLibrary library = open_nccl(ORRERY_NCCL_SHIM);
  return run_socket_ranks(ranks, body, [&](std::unique_ptr<MessageChannel> sockets) {
    return nccl_channel(std::move(sockets), library, 0, communicators, std::chrono::seconds(20));
  });
}

// Every kind of operation with every type, one after the other, in each group that the rank is in.
void check_group(Transport& transport, const std::vector<int>& ranks, std::int64_t base) {
  if (std::find(ranks.begin(), ranks.end(), transport.rank()) == ranks.end()) return;
  const Group group = group_of(ranks, transport.rank());
  for (std::size_t count : {std::size_t{0}, std::size_t{1}, std::size_t{3000}}) {
    for (std::size_t kind = 0; kind < 5; ++kind, base += 3) {
      const auto check = [&](RunningOperation running) {
        run_until(transport, [&] { return running.operation->advance(); });
        running.verify();
      };
      check(start_operation<float>(transport, group, {base, "float"}, kind, count, 11 * count));
      check(start_operation<double>(transport, group, {base + 1, "double"}, kind, count, count));
      check(start_operation<std::int64_t>(transport, group, {base + 2, "int64"}, kind, count, 5));
    }
  }
}

}  // namespace

TEST_CASE("over NCCL, messages arrive whole and in order of their tag") {
  const int ranks = GENERATE(1, 2, 4);
  CAPTURE(ranks);
  CHECK(run_nccl_ranks(ranks, all_pairs(ranks, {}), [](Transport& transport) {
          for (std::uint64_t seed = 1; seed <= 2; ++seed) check_messages(transport, seed);
          check_gather(transport);
        }) == nothing(ranks));
}

TEST_CASE("over NCCL, operations of groups give the serial results to the last bit") {
  const std::vector<std::vector<int>> groups = {{0, 1, 2, 3}, {1, 3}, {2, 0, 3}};
  CHECK(run_nccl_ranks(4, all_pairs(4, groups), [&](Transport& transport) {
          std::int64_t base = 0;
          for (const std::vector<int>& ranks : groups) {
            if (transport.carries(ranks) !=
                (std::count(ranks.begin(), ranks.end(), transport.rank()) > 0))
              throw std::runtime_error("a communicator is missing, or one too many");
            check_group(transport, ranks, base += 1000);
          }
        }) == nothing(4));
}

TEST_CASE("over NCCL, sides that disagree both hear it before NCCL does, and can go on") {
  CHECK(run_nccl_ranks(2, all_pairs(2, {}), check_mismatch) == nothing(2));
}

TEST_CASE("over NCCL, members that start operations in different orders hear both names") {
  const auto thrown = run_nccl_ranks(2, all_pairs(2, {{0, 1}}), [](Transport& transport) {
    std::vector<float> values(8, 1);
    const Group group = group_of({0, 1}, transport.rank());
    std::unique_ptr<GroupOperation> operation;
    if (transport.rank() == 0) {
      operation = std::make_unique<AllReduce<float>>(transport, group, OperationName{7, "loss"},
                                                     std::span(values));
    } else {
      operation = std::make_unique<AllReduce<float>>(transport, group, OperationName{7, "norm"},
                                                     std::span(values).first(4));
    }
    try {
      run_until(transport, [&] { return operation->advance(); });
    } catch (const TransportError& error) {
      transport.abort(error.what());
      throw;
    }
  });
  for (const std::string& text : thrown) {
    CHECK_THAT(text, Contains("all-reduce of 8 float, 2 ranks: loss") &&
                         Contains("all-reduce of 4 float, 2 ranks: norm"));
  }
}

// What the protocol keeps from happening: nobody has compared the sides of this call.
TEST_CASE("calls that NCCL's library finds wrong end with both of them and the rank") {
  const NcclLibrary library = open_nccl(ORRERY_NCCL_SHIM);
  NcclId id;
  library.nccl.get_unique_id(&id);
  const auto thrown = run_threads(2, [&](int rank) {
    NcclDevice device(library, rank);
    NcclCommunicator communicator(device, id, iota(2), rank, std::chrono::seconds(5));
    std::vector<std::byte> bytes(rank == 0 ? 16 : 24);
    const auto flight = rank == 0 ? communicator.send(1, bytes) : communicator.receive(0, bytes);
    while (!flight->landed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  for (const std::string& text : thrown) {
    CHECK_THAT(text, Contains("NCCL error 5") && Contains("of ranks 0,1") &&
                         Contains("mismatched sizes: rank 0's call 1: ncclSend of 16 uint8, but "
                                  "rank 1's call 1: ncclRecv of 24 uint8"));
  }
}

TEST_CASE("a communicator whose other member does not come ends with the patience") {
  const NcclLibrary library = open_nccl(ORRERY_NCCL_SHIM);
  NcclId id;
  library.nccl.get_unique_id(&id);
  NcclDevice device(library, 0);
  CHECK_THROWS_WITH(NcclCommunicator(device, id, iota(2), 0, std::chrono::milliseconds(300)),
                    Contains("ncclCommInitRankConfig of ranks 0,1 has not ended"));
}

TEST_CASE("over NCCL, abort reaches every rank, transfers under way or not") {
  CHECK(run_nccl_ranks(4, all_pairs(4, {}), check_abort) == nothing(4));
}

}  // namespace orrery
