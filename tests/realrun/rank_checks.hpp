#pragma once
// What every transport must do, as functions that each rank of a run calls and that throw
// std::runtime_error where it does not: for rank threads (thread_ranks.hpp) and for MPI processes
// (mpi_ranks.cpp). Plans and data come from seeds, so that each rank knows what the others do.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "realrun/collectives.hpp"
#include "realrun/transport.hpp"

namespace orrery {

inline void expect(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}

inline void expect_contains(const std::string& text, std::initializer_list<const char*> words) {
  for (const char* word : words)
    expect(text.find(word) != std::string::npos, fmt::format("\"{}\" lacks \"{}\"", text, word));
}

using Rng = std::mt19937_64;

inline std::size_t pick(Rng& rng, std::size_t count) {
  return static_cast<std::size_t>(rng() % count);
}

// Nothing in three of four calls, else up to 0.3 ms.
inline void random_delay(Rng& rng) {
  const std::size_t microseconds = pick(rng, 300);
  if (pick(rng, 4) == 0) std::this_thread::sleep_for(std::chrono::microseconds(microseconds));
}

// The event loop of a communication worker, until `finished` returns true.
inline void run_until(Transport& transport, const std::function<bool()>& finished) {
  for (;;) {
    const std::uint64_t seen = transport.events();
    if (finished()) return;
    if (transport.movable_bytes() > 0) {
      transport.move();
    } else {
      transport.wait(seen);
    }
  }
}

inline std::vector<std::byte> random_bytes(std::uint64_t seed, std::size_t size) {
  Rng rng(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng());
  return bytes;
}

// Magnitudes from 1e-6 to 1e6 and both signs: then the order of a sum shows in its bits.
template <class T>
std::vector<T> random_values(std::uint64_t seed, std::size_t count) {
  Rng rng(seed);
  std::vector<T> values(count);
  for (T& value : values) {
    if constexpr (std::is_integral_v<T>) {
      value = static_cast<T>(rng() >> 8);
    } else {
      const double exponent = std::uniform_real_distribution<double>(-6, 6)(rng);
      value = static_cast<T>((rng() % 2 == 0 ? 1 : -1) * std::pow(10, exponent));
    }
  }
  return values;
}

// Random messages among all ranks, few tags, so that many share (source, tag) and order matters.
// Each rank posts its sides in an order of its own.
inline void check_messages(Transport& transport, std::uint64_t seed) {
  struct Message {
    int source, target;
    std::int64_t tag;
    std::vector<std::byte> data;
  };
  constexpr std::int64_t kTagsUsed[] = {0, 7, (std::int64_t{1} << 40) + 7, kGroupTags - 1};
  constexpr std::size_t kSizes[] = {0, 1, 8, 100, 5000, 200000};
  Rng plan(seed);
  std::vector<Message> messages;
  const auto ranks = static_cast<std::size_t>(transport.size());
  for (std::size_t number = 0; number < 30 * ranks; ++number) {
    const auto source = static_cast<int>(pick(plan, ranks));
    const auto target = static_cast<int>(pick(plan, ranks));
    const std::int64_t tag = kTagsUsed[pick(plan, 4)];
    messages.push_back({source, target, tag, random_bytes(plan(), kSizes[pick(plan, 6)])});
  }

  // This rank's sides, shuffled, but in order among those of one (send or receive, peer, tag).
  struct Side {
    bool is_send;
    std::size_t message;
  };
  using Key = std::tuple<bool, int, std::int64_t>;
  std::vector<Side> sides;
  for (std::size_t message = 0; message < messages.size(); ++message) {
    if (messages[message].source == transport.rank()) sides.push_back({true, message});
    if (messages[message].target == transport.rank()) sides.push_back({false, message});
  }
  const auto key_of = [&](const Side& side) {
    const Message& message = messages[side.message];
    return Key(side.is_send, side.is_send ? message.target : message.source, message.tag);
  };
  std::map<Key, std::vector<Side>> in_order;
  for (const Side& side : sides) in_order[key_of(side)].push_back(side);
  Rng own(seed + 1000 + static_cast<std::uint64_t>(transport.rank()));
  std::shuffle(sides.begin(), sides.end(), own);
  std::map<Key, std::size_t> next;
  for (Side& side : sides) {
    const Key key = key_of(side);
    side = in_order[key][next[key]++];
  }

  std::vector<std::vector<std::byte>> rooms(messages.size());
  std::vector<Ticket> open;
  const auto poll = [&] {
    std::erase_if(open, [&](Ticket ticket) {
      if (!transport.done(ticket)) return false;
      expect(transport.matched_at(ticket).has_value(), "done but never matched");
      transport.release(ticket);
      return true;
    });
    return open.empty();
  };
  for (const Side& side : sides) {
    const Message& message = messages[side.message];
    random_delay(own);
    if (side.is_send) {
      open.push_back(transport.post_send(message.target, message.tag, message.data));
    } else {
      rooms[side.message].resize(message.data.size());
      open.push_back(transport.post_receive(message.source, message.tag, rooms[side.message]));
    }
    if (pick(own, 3) == 0) {
      poll();
      if (transport.movable_bytes() > 0) transport.move();
    }
  }
  run_until(transport, poll);
  for (std::size_t message = 0; message < messages.size(); ++message) {
    if (messages[message].target == transport.rank())
      expect(rooms[message] == messages[message].data,
             fmt::format("message {} arrived changed, seed {}", message, seed));
  }
  expect(transport.pending().empty(), "left over: " + transport.pending());
}

// An operation on its way, with what it must have done.
struct RunningOperation {
  std::unique_ptr<GroupOperation> operation;
  std::function<void()> verify;
  bool finished = false;
};

template <class T>
bool same_bits(std::span<const T> left, std::span<const T> right) {
  return left.size() == right.size() &&
         (left.empty() || std::memcmp(left.data(), right.data(), left.size_bytes()) == 0);
}

// One operation of `kind` (0..4) over that group; member m's input is of seed + m.
template <class T>
RunningOperation start_operation(Transport& transport, const Group& group, OperationName name,
                                 std::size_t kind, std::size_t count, std::uint64_t seed) {
  const auto members = static_cast<std::size_t>(group.size());
  const auto place = static_cast<std::size_t>(group.place);
  const auto failure = [=](const char* what) {
    return fmt::format("{} of {} x {} over {} members, seed {}", what, count, sizeof(T), members,
                       seed);
  };
  // Unequal shards that cover the whole.
  std::vector<Slice> shards;
  std::size_t total = 0;
  for (std::size_t member = 0; member < members; ++member) {
    const std::size_t length = (seed + 3 * member) % (count + 1);
    shards.push_back({total, length});
    total += length;
  }
  const auto sum_of_all = [=](std::size_t elements) {
    std::vector<T> sum = random_values<T>(seed, elements);
    for (std::size_t member = 1; member < members; ++member) {
      const std::vector<T> values = random_values<T>(seed + member, elements);
      for (std::size_t element = 0; element < elements; ++element) sum[element] += values[element];
    }
    return sum;
  };

  switch (kind) {
    case 0: {
      const auto bytes_between = [=](std::size_t from, std::size_t to) {
        const std::uint64_t both = seed + 100 * from + to;
        return random_bytes(both, both % 3 == 0 ? 0 : both % (8 * count + 1));
      };
      std::vector<std::vector<std::byte>> to_each;
      for (std::size_t member = 0; member < members; ++member)
        to_each.push_back(bytes_between(place, member));
      auto operation = std::make_unique<AllToAllBytes>(transport, group, name, std::move(to_each));
      const auto verify = [=, result = operation.get()] {
        const std::vector<std::vector<std::byte>> received = result->take_received();
        for (std::size_t member = 0; member < members; ++member)
          expect(received[member] == bytes_between(member, place), failure("all-to-all"));
      };
      return {std::move(operation), verify};
    }
    case 1: {
      const auto own = std::make_shared<std::vector<T>>(random_values<T>(seed + place, count));
      const auto all = std::make_shared<std::vector<T>>(members * count);
      auto operation =
          std::make_unique<AllGather<T>>(transport, group, name, std::span<const T>(*own), *all);
      return {std::move(operation), [=] {
                for (std::size_t member = 0; member < members; ++member) {
                  const std::vector<T> expected = random_values<T>(seed + member, count);
                  expect(same_bits<T>(std::span(*all).subspan(member * count, count), expected),
                         failure("all-gather"));
                }
                (void)own;
              }};
    }
    case 2: {  // unequal, in place
      const auto all = std::make_shared<std::vector<T>>(total);
      const std::span<T> own = std::span(*all).subspan(shards[place].begin, shards[place].count);
      const std::vector<T> values = random_values<T>(seed + place, own.size());
      std::copy(values.begin(), values.end(), own.begin());
      auto operation = std::make_unique<AllGather<T>>(transport, group, name,
                                                      std::span<const T>(own), *all, shards);
      return {std::move(operation), [=] {
                for (std::size_t member = 0; member < members; ++member) {
                  const Slice shard = shards[member];
                  expect(same_bits<T>(std::span(*all).subspan(shard.begin, shard.count),
                                      random_values<T>(seed + member, shard.count)),
                         failure("all-gather of unequal counts"));
                }
              }};
    }
    case 3: {
      const auto full = std::make_shared<std::vector<T>>(random_values<T>(seed + place, total));
      const bool in_place = seed % 2 == 0;
      const auto elsewhere = std::make_shared<std::vector<T>>(shards[place].count);
      const std::span<T> own =
          in_place ? std::span(*full).subspan(shards[place].begin, shards[place].count)
                   : std::span(*elsewhere);
      auto operation = std::make_unique<ReduceScatter<T>>(transport, group, name,
                                                          std::span<const T>(*full), shards, own);
      return {std::move(operation), [=] {
                const std::vector<T> sum = sum_of_all(total);
                expect(same_bits<T>(own, std::span(sum).subspan(shards[place].begin, own.size())),
                       failure("reduce-scatter"));
                (void)full, (void)elsewhere;
              }};
    }
    default: {
      const auto values = std::make_shared<std::vector<T>>(random_values<T>(seed + place, count));
      auto operation = std::make_unique<AllReduce<T>>(transport, group, name, *values);
      return {std::move(operation),
              [=] { expect(same_bits<T>(*values, sum_of_all(count)), failure("all-reduce")); }};
    }
  }
}

// Operations of all kinds, types and sizes over random groups, all under way at once; each rank
// starts its own in an order of its own.
inline void check_operations(Transport& transport, std::uint64_t seed) {
  constexpr std::size_t kCounts[] = {0, 1, 5, 100, 512, 513, 3000};
  Rng plan(seed);
  Rng own(seed + 2000 + static_cast<std::uint64_t>(transport.rank()));
  std::vector<std::function<RunningOperation()>> starts;
  for (std::int64_t base = 0; base < 8 * transport.size(); ++base) {
    std::vector<int> ranks(static_cast<std::size_t>(transport.size()));
    std::iota(ranks.begin(), ranks.end(), 0);
    std::shuffle(ranks.begin(), ranks.end(), plan);
    ranks.resize(1 + pick(plan, ranks.size()));
    const std::size_t kind = pick(plan, 5);
    const std::size_t type = pick(plan, 3);
    const std::size_t count = kCounts[pick(plan, 7)];
    const std::uint64_t data = plan() >> 16;
    if (std::find(ranks.begin(), ranks.end(), transport.rank()) == ranks.end()) continue;
    starts.push_back(
        [&transport, group = group_of(ranks, transport.rank()), base, kind, type, count, data] {
          const OperationName name{base, "random"};
          if (type == 0) return start_operation<float>(transport, group, name, kind, count, data);
          if (type == 1) return start_operation<double>(transport, group, name, kind, count, data);
          return start_operation<std::int64_t>(transport, group, name, kind, count, data);
        });
  }
  std::shuffle(starts.begin(), starts.end(), own);

  std::vector<RunningOperation> running;
  const auto advance = [&] {
    bool all = true;
    for (RunningOperation& operation : running) {
      if (!operation.finished && operation.operation->advance()) {
        operation.finished = true;
        expect(operation.operation->pending_work() == 0, "work left after the end");
        expect(operation.operation->started().has_value(), "finished but never started");
        operation.verify();
      }
      all = all && operation.finished;
    }
    return all;
  };
  for (const auto& start : starts) {
    random_delay(own);
    running.push_back(start());
    if (pick(own, 2) == 0) {
      advance();
      if (transport.movable_bytes() > 0) transport.move();
    }
  }
  run_until(transport, advance);
  expect(transport.pending().empty(), "left over: " + transport.pending());
}

// Blobs of sizes 0, 1000, 2000, ...
inline void check_gather(Transport& transport) {
  const auto blob = [](int rank) {
    return random_bytes(static_cast<std::uint64_t>(rank), 1000 * static_cast<std::size_t>(rank));
  };
  const std::vector<std::vector<std::byte>> blobs = gather(transport, blob(transport.rank()));
  expect(blobs.size() == (transport.rank() == 0 ? static_cast<std::size_t>(transport.size()) : 0),
         fmt::format("{} blobs on rank {}", blobs.size(), transport.rank()));
  for (std::size_t rank = 0; rank < blobs.size(); ++rank)
    expect(blobs[rank] == blob(static_cast<int>(rank)), fmt::format("blob of rank {}", rank));
}

// What done() of that ticket ends with: the text of its TransportError.
inline std::string refusal(Transport& transport, Ticket ticket) {
  try {
    run_until(transport, [&] { return transport.done(ticket); });
  } catch (const TransportError& error) {
    transport.release(ticket);
    return error.what();
  }
  throw std::runtime_error("the message went through");
}

// Rank 0 and 1 disagree on a size, then on a label; both hear it, and can go on.
inline void check_mismatch(Transport& transport) {
  if (transport.rank() > 1) return;
  std::vector<std::byte> bytes(12);
  const bool sends = transport.rank() == 0;
  const auto post = [&](std::size_t size, const char* label) {
    const std::span<std::byte> part = std::span(bytes).first(size);
    return sends ? transport.post_send(1, 77, part, label)
                 : transport.post_receive(0, 77, part, label);
  };
  expect_contains(refusal(transport, post(sends ? 10 : 12, "rows")),
                  {"rank 0 sends 10 B (rows)", "rank 1", "12 B (rows)", "tag 77"});
  expect_contains(refusal(transport, post(12, sends ? "dispatch" : "combine")),
                  {"12 B (dispatch)", "12 B (combine)", "tag 77"});
  const Ticket agreed = post(12, "rows");
  finish(transport, std::span(&agreed, 1));
}

// The last rank gives up while large messages are under way everywhere and all wait for one that
// never comes; all others hear why. Ends the run.
inline void check_abort(Transport& transport) {
  constexpr std::size_t kLarge = 4 << 20;
  const int last = transport.size() - 1;
  std::vector<std::vector<std::byte>> rooms;
  const std::vector<std::byte> data(kLarge);
  std::vector<Ticket> tickets;
  std::vector<std::byte> never(1);
  try {
    for (int peer = 0; peer < transport.size(); ++peer) {
      if (peer == transport.rank()) continue;
      rooms.emplace_back(kLarge);
      tickets.push_back(transport.post_receive(peer, 1, rooms.back()));
      tickets.push_back(transport.post_send(peer, 1, data));
    }
    tickets.push_back(transport.post_receive(last, 2, never));
    if (transport.rank() == last) {
      run_until(transport, [&] { return transport.done(tickets.front()); });
      transport.abort("the disk is full");
    }
    finish(transport, tickets);
  } catch (const Aborted& error) {
    expect_contains(error.what(), {fmt::format("rank {} failed: the disk is full", last).c_str()});
    return;
  }
  throw std::runtime_error("a message that was never sent arrived");
}

}  // namespace orrery
