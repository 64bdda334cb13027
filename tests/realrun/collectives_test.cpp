#include "realrun/collectives.hpp"

#include <algorithm>
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

Group everyone(const Transport& transport) {
  std::vector<int> ranks(static_cast<std::size_t>(transport.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return group_of(ranks, transport.rank());
}

void run(Transport& transport, GroupOperation& operation) {
  run_until(transport, [&] { return operation.advance(); });
}

TEST_CASE("many operations at once over random groups give the serial results") {
  const int ranks = GENERATE(1, 2, 3, 5, 8);
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    CAPTURE(ranks, seed);
    CHECK(run_ranks(ranks, [&](Transport& transport) { check_operations(transport, seed); }) ==
          nothing_thrown(ranks));
  }
}

// (1e8 + 1) - 1e8 = 0 in FP32, since 1e8 + 1 rounds to 1e8, but (1e8 - 1e8) + 1 = 1: the order of
// the group is visible in the sum. Both paths, in both orders of the group.
TEST_CASE("sums are taken in group order, whoever comes first") {
  const std::vector<float> own_value = {1e8F, 1, -1e8F};  // by rank
  for (std::size_t count : {std::size_t{10}, std::size_t{5000}}) {
    for (const auto& [order, sum] : std::vector<std::pair<std::vector<int>, float>>{
             {{0, 1, 2}, 0.0F}, {{0, 2, 1}, 1.0F}, {{2, 0, 1}, 1.0F}, {{1, 0, 2}, 0.0F}}) {
      for (int late = 0; late < 3; ++late) {
        CAPTURE(count, order, late);
        const std::vector<std::string> thrown = run_ranks(3, [&](Transport& transport) {
          if (transport.rank() == late) std::this_thread::sleep_for(std::chrono::milliseconds(1));
          std::vector<float> values(count, own_value[static_cast<std::size_t>(transport.rank())]);
          const Group group = group_of(order, transport.rank());
          AllReduce<float> all_reduce(transport, group, {1, "loss"}, values);
          run(transport, all_reduce);
          expect(values == std::vector<float>(count, sum), "all-reduce");

          std::vector<float> full(count, own_value[static_cast<std::size_t>(transport.rank())]);
          const std::vector<Slice> shards = even_shards(count, 3);
          std::vector<float> shard(shards[static_cast<std::size_t>(group.place)].count);
          ReduceScatter<float> reduce(transport, group, {2, "gradients"}, full, shards, shard);
          run(transport, reduce);
          expect(shard == std::vector<float>(shard.size(), sum), "reduce-scatter");
        });
        CHECK(thrown == nothing_thrown(3));
      }
    }
  }
}

TEST_CASE("consecutive operations of one group under one number stay apart") {
  const std::vector<std::string> thrown = run_ranks(4, [](Transport& transport) {
    Rng delays(static_cast<std::uint64_t>(transport.rank()));
    const Group group = everyone(transport);
    for (std::int64_t round = 0; round < 50; ++round) {
      random_delay(delays);
      std::vector<std::int64_t> values(1000, round * (transport.rank() + 1));
      AllReduce<std::int64_t> sum(transport, group, {3, ""}, values);
      run(transport, sum);
      expect(values == std::vector<std::int64_t>(1000, 10 * round), fmt::format("round {}", round));
    }
  });
  CHECK(thrown == nothing_thrown(4));
}

TEST_CASE("the operation started when its last member came, on every member") {
  std::atomic<double> last_arrival = 1e9;
  std::atomic<int> posted = 0;
  const std::vector<std::string> thrown = run_ranks(4, [&](Transport& transport) {
    if (transport.rank() == 2) {
      while (posted < 3) std::this_thread::yield();
      last_arrival = transport.now().value();
    }
    std::vector<std::vector<std::byte>> to_each(4, std::vector<std::byte>(100));
    AllToAllBytes exchange(transport, everyone(transport), {0, "dispatch"}, std::move(to_each));
    if (transport.rank() != 2)
      expect(!exchange.started(), "started before the last member had come");
    ++posted;
    run(transport, exchange);
    expect(exchange.started()->value() >= last_arrival, "started too early");
    expect(*exchange.started() <= transport.now(), "started in the future");
    expect(exchange.take_received().size() == 4, "received");
  });
  CHECK(thrown == nothing_thrown(4));
}

TEST_CASE("a group of one has its result without a message, started when it was made") {
  ThreadWorld world(1);
  Transport& transport = world.endpoint(0);
  const Group alone{{0}, 0};
  std::vector<double> values = {1.5, -2};
  AllReduce<double> sum(transport, alone, {0, "loss"}, values);
  CHECK(sum.pending_work() == 16);
  CHECK(sum.advance());
  CHECK(sum.pending_work() == 0);
  CHECK(values == std::vector<double>{1.5, -2});
  CHECK(sum.started().has_value());

  AllToAllBytes exchange(transport, alone, {0, "dispatch"}, {random_bytes(1, 10)});
  CHECK(exchange.advance());
  CHECK(exchange.take_received().at(0) == random_bytes(1, 10));

  std::vector<double> gathered(2);
  AllGather<double> gather_one(transport, alone, {0, ""}, std::span<const double>(values),
                               gathered);
  CHECK(gather_one.pending_work() == 16);
  CHECK(gather_one.advance());
  CHECK(gathered == values);
  CHECK(transport.pending() == "");
}

// The work appears with the data and goes with the call that does it.
TEST_CASE("pending work is what the next advance does") {
  ThreadWorld world(2);
  const std::vector<Slice> shards = even_shards(200, 2);
  std::vector<float> full(200, 1), own_0(100), own_1(100);
  ReduceScatter<float> first(world.endpoint(0), {{0, 1}, 0}, {0, "g"}, full, shards, own_0);
  CHECK(first.pending_work() == 0);
  ReduceScatter<float> second(world.endpoint(1), {{0, 1}, 1}, {0, "g"}, full, shards, own_1);
  CHECK(world.endpoint(0).movable_bytes() == 400);
  CHECK(first.pending_work() == 0);
  world.endpoint(0).move();
  CHECK(first.pending_work() == 2 * 400);
  CHECK_FALSE(first.advance());  // summed, but rank 1 has not taken its part
  CHECK(own_0 == std::vector<float>(100, 2));
  CHECK(first.pending_work() == 0);
  world.endpoint(1).move();
  CHECK(first.advance());

  std::vector<std::vector<std::byte>> to_each(2, std::vector<std::byte>(300));
  AllToAllBytes dispatch(world.endpoint(0), {{0, 1}, 0}, {1, "d"}, to_each);
  AllToAllBytes other(world.endpoint(1), {{0, 1}, 1}, {1, "d"}, to_each);
  CHECK(dispatch.pending_work() == 0);
  world.endpoint(0).move();
  CHECK(dispatch.pending_work() == 300);
  CHECK_FALSE(dispatch.advance());
  CHECK(dispatch.pending_work() == 0);
  world.endpoint(1).move();
  CHECK_FALSE(other.advance());
  world.endpoint(0).move();
  world.endpoint(1).move();
  CHECK(dispatch.advance());
  CHECK(other.advance());
}

using Start = std::function<std::unique_ptr<GroupOperation>(Transport&, const Group&)>;

TEST_CASE("members that call different operations under one number both hear of it") {
  static std::vector<float> floats(4000);  // of no value: nothing is ever moved
  static std::vector<double> doubles(2000);
  const auto exchange = [](const char* name) -> Start {
    return [=](Transport& transport, const Group& group) {
      return std::make_unique<AllToAllBytes>(transport, group, OperationName{5, name},
                                             std::vector<std::vector<std::byte>>(2));
    };
  };
  const auto reduce = [](std::size_t count) -> Start {
    return [=](Transport& transport, const Group& group) {
      return std::make_unique<AllReduce<float>>(transport, group, OperationName{5, "loss"},
                                                std::span(floats).first(count));
    };
  };
  const Start reduce_doubles = [](Transport& transport, const Group& group) {
    return std::make_unique<AllReduce<double>>(transport, group, OperationName{5, "loss"},
                                               std::span(doubles).first(256));
  };
  const Start gather_all = [](Transport& transport, const Group& group) {
    return std::make_unique<AllGather<float>>(transport, group, OperationName{5, "loss"},
                                              std::span<const float>(floats).first(512),
                                              std::span(floats).subspan(512, 1024));
  };
  struct Pair {
    Start first, second;
    const char *first_label, *second_label;
  };
  const Pair pairs[] = {
      {exchange("dispatch"), exchange("combine"), "all-to-all, 2 ranks: dispatch",
       "all-to-all, 2 ranks: combine"},
      {exchange("loss"), reduce(2), "all-to-all, 2 ranks: loss",
       "all-reduce of 2 float, 2 ranks: loss"},
      {reduce(512), reduce_doubles, "all-reduce of 512 float", "all-reduce of 256 double"},
      {reduce(512), gather_all, "all-reduce of 512 float", "all-gather of 1024 float"},
      // 4096 B from each: everything of the one, the shard of the other.
      {reduce(1024), reduce(2048), "all-reduce of 1024 float", "all-reduce of 2048 float"},
  };
  for (const Pair& pair : pairs) {
    CAPTURE(pair.first_label, pair.second_label);
    std::vector<std::string> heard(2);
    const std::vector<std::string> thrown = run_ranks(2, [&](Transport& transport) {
      const Start& start = transport.rank() == 0 ? pair.first : pair.second;
      const std::unique_ptr<GroupOperation> operation = start(transport, everyone(transport));
      try {
        run(transport, *operation);
      } catch (const TransportError& error) {
        heard[static_cast<std::size_t>(transport.rank())] = error.what();
      }
    });
    CHECK(thrown == nothing_thrown(2));
    for (const std::string& text : heard) {
      CHECK_THAT(text, Catch::Contains(pair.first_label) && Catch::Contains(pair.second_label) &&
                           Catch::Contains("operation 5 phase 0"));
    }
  }
}

TEST_CASE("an abort reaches members that wait for the others") {
  const std::vector<std::string> thrown = run_ranks(3, [](Transport& transport) {
    if (transport.rank() == 1) throw std::runtime_error("not a number in layer 3");
    std::vector<float> values(2000);
    AllReduce<float> sum(transport, everyone(transport), {0, "loss"}, values);
    run(transport, sum);
  });
  CHECK(thrown[0] == "rank 1 failed: not a number in layer 3");
  CHECK(thrown[2] == "rank 1 failed: not a number in layer 3");
}

TEST_CASE("even shards cover the whole and differ by one element at most") {
  for (std::size_t elements : {0, 1, 7, 8, 9, 1000}) {
    for (int members : {1, 2, 3, 8}) {
      CAPTURE(elements, members);
      std::size_t end = 0;
      std::vector<std::size_t> counts;
      for (const Slice& shard : even_shards(elements, members)) {
        CHECK(shard.begin == end);
        end += shard.count;
        counts.push_back(shard.count);
      }
      CHECK(end == elements);
      CHECK(counts.size() == static_cast<std::size_t>(members));
      CHECK(*std::max_element(counts.begin(), counts.end()) -
                *std::min_element(counts.begin(), counts.end()) <=
            1);
    }
  }
}

TEST_CASE("shards and groups that do not fit are bugs, found before anything is posted") {
  ThreadWorld world(2);
  Transport& transport = world.endpoint(0);
  const Group group{{0, 1}, 0};
  std::vector<float> full(10), own(5);
  const std::vector<Slice> too_long = {{0, 5}, {5, 6}};
  const std::vector<Slice> too_few = {{0, 5}};
  const std::vector<Slice> not_own = {{0, 4}, {4, 6}};
  for (const std::vector<Slice>& shards : {too_long, too_few, not_own}) {
    CHECK_THROWS_AS(ReduceScatter<float>(transport, group, {0, ""}, full, shards, own), Bug);
    CHECK_THROWS_AS(
        AllGather<float>(transport, group, {0, ""}, std::span<const float>(own), full, shards),
        Bug);
  }
  CHECK_THROWS_AS(AllReduce<float>(transport, {{0, 1}, 1}, {0, ""}, full), Bug);
  CHECK_THROWS_AS(AllReduce<float>(transport, group, {-1, ""}, full), Bug);
  CHECK_THROWS_AS(AllToAllBytes(transport, group, {0, ""}, {}), Bug);
  CHECK_THROWS_AS(group_of({1, 2}, 0), Bug);
  CHECK(transport.pending() == "");
}

}  // namespace
}  // namespace orrery
