// The two hops of a node-limited exchange: across nodes to the rank of the same number, then within
// the node; back the same way. Values are small whole numbers, so every sum is exact in BF16.
#include "kernels/cuda/combine.hpp"
#include "kernels/cuda/dispatch.hpp"
#include "kernels/exchange_index.hpp"
#include "tests/kernels/cuda/exchange_choices.hpp"

namespace orrery::cuda {
namespace {

constexpr int kNodes = kRanks / kRanksOfNode, kExpertsOfNode = kRanksOfNode * kExpertsOfRank;
constexpr std::int64_t kMost = 6 * 129;  // rows that any buffer may get

// A rank's part in one hop: what it sends along which map, and where it receives.
struct Part {
  Device<std::int32_t> destination_of = poisoned<std::int32_t>(kMost * kSlots),
                       row_of = poisoned<std::int32_t>(kMost * kSlots),
                       counts = poisoned<std::int32_t>(kRanks * kRanks),
                       first_row = poisoned<std::int32_t>(kRanks);
  Device<Bf16> rows = poisoned<Bf16>(kMost * kHidden);  // received
  Device<std::int32_t> choices = poisoned<std::int32_t>(kMost * kSlots);
  Device<Bf16> returned = poisoned<Bf16>(kMost * kHidden);  // summed for what it sent
  std::int64_t sent = 0, received = 0;

  ExchangeMap map() const {
    return {sent, kSlots, destination_of.get(), row_of.get(), first_row.get()};
  }
};

// One hop among members that each send rows and choices; fills their parts.
struct Hop {
  Hop(std::vector<Part*> of, kernels::ExchangeShape shape, const std::vector<const Bf16*>& rows,
      const std::vector<const std::int32_t*>& chosen, int ctas)
      : members(std::move(of)), rows_of(table<Bf16>(&Part::rows)) {
    const auto counts = table<std::int32_t>(&Part::counts);
    const auto choices = table<std::int32_t>(&Part::choices);
    const int count = static_cast<int>(members.size());
    for (int own = 0; own < count; ++own) {
      Part& part = *members[size(own)];
      shape.tokens = part.sent;
      map_exchange(shape, chosen[size(own)], own, counts.get(), part.destination_of.get(),
                   part.row_of.get(), nullptr);
    }
    for (int own = 0; own < count; ++own) {
      Part& part = *members[size(own)];
      first_rows(count, own, part.counts.get(), part.first_row.get(), nullptr);
      const SentRows arrays[] = {
          {2 * kHidden, rows[size(own)], reinterpret_cast<void* const*>(rows_of.get())},
          {4 * kSlots, chosen[size(own)], reinterpret_cast<void* const*>(choices.get())}};
      dispatch(part.map(), arrays, {}, ctas, nullptr);
      part.received = kernels::first_row_of(count, part.counts.host().data(), count, own);
    }
    check(cudaDeviceSynchronize(), "a hop");
  }

  // What the members have in `from` returns to those who sent.
  void combine_from(Device<Bf16> Part::*from, int ctas) const {
    const auto addresses = table<Bf16>(from);
    for (Part* part : members)
      combine(part->map(), {kHidden, addresses.get(), part->returned.get()}, {}, {}, ctas, nullptr);
    check(cudaDeviceSynchronize(), "the way back");
  }

  template <class T>
  Device<T*> table(Device<T> Part::*array) const {
    std::vector<T*> addresses;
    for (Part* part : members) addresses.push_back((part->*array).get());
    return Device<T*>(addresses);
  }

  std::vector<Part*> members;
  Device<Bf16*> rows_of;
};

TEST_CASE("two hops bring every token to the ranks of its experts once, and all back") {
  const std::vector<std::int64_t> tokens = {129, 0, 1, 127, 64, 129};
  const int ctas = GENERATE(1, 20);
  // A row says whose it is: its rank, then its token in two figures.
  std::vector<std::vector<double>> x;
  std::vector<Numbers> experts;
  std::vector<Device<Bf16>> device_x;
  std::vector<Device<std::int32_t>> device_experts;
  std::vector<Part> across(kRanks), within(kRanks);
  for (int rank = 0; rank < kRanks; ++rank) {
    std::vector<Bf16> values;
    for (std::int64_t at = 0; at < tokens[size(rank)] * kHidden; ++at) {
      const std::int64_t token = at / kHidden, column = at % kHidden;
      const std::int64_t whose[] = {rank, token / 32, token % 32};
      values.push_back(
          __float2bfloat16(static_cast<float>(column < 3 ? whose[column] : at * 7 % 61)));
    }
    x.push_back(doubles(values));
    experts.push_back(choices(tokens[size(rank)], Load::kRandom, 90 + static_cast<unsigned>(rank)));
    device_x.emplace_back(values);
    device_experts.emplace_back(experts.back());
    across[size(rank)].sent = tokens[size(rank)];
  }
  std::vector<Hop> hops;
  for (int number = 0; number < kRanksOfNode; ++number) {
    std::vector<Part*> members;
    std::vector<const Bf16*> rows;
    std::vector<const std::int32_t*> chosen;
    for (int rank = number; rank < kRanks; rank += kRanksOfNode) {
      members.push_back(&across[size(rank)]);
      rows.push_back(device_x[size(rank)].get());
      chosen.push_back(device_experts[size(rank)].get());
    }
    hops.emplace_back(members, kernels::ExchangeShape{0, kSlots, kNodes, 0, kExpertsOfNode}, rows,
                      chosen, ctas);
  }
  for (int node = 0; node < kNodes; ++node) {
    std::vector<Part*> members;
    std::vector<const Bf16*> rows;
    std::vector<const std::int32_t*> chosen;
    for (int rank = node * kRanksOfNode; rank < (node + 1) * kRanksOfNode; ++rank) {
      const Part& forwards = across[size(rank)];
      within[size(rank)].sent = forwards.received;
      members.push_back(&within[size(rank)]);
      rows.push_back(forwards.rows.get());
      chosen.push_back(forwards.choices.get());
    }
    hops.emplace_back(
        members,
        kernels::ExchangeShape{0, kSlots, kRanksOfNode, node * kExpertsOfNode, kExpertsOfRank},
        rows, chosen, ctas);
  }

  std::vector<std::vector<int>> copies;  // of every token
  for (std::int64_t count : tokens) copies.emplace_back(size(count), 0);
  const kernels::ExchangeShape direct{0, kSlots, kRanks, 0, kExpertsOfRank};
  for (int rank = 0; rank < kRanks; ++rank) {
    CAPTURE(rank);
    std::vector<std::pair<int, std::int64_t>> found, expected;
    const std::vector<double> rows = doubles(within[size(rank)].rows.host());
    for (std::int64_t row = 0; row < within[size(rank)].received; ++row) {
      const auto first = rows.begin() + row * kHidden;
      const int source = static_cast<int>(first[0]);
      const auto token = static_cast<std::int64_t>(32 * first[1] + first[2]);
      found.emplace_back(source, token);
      REQUIRE(std::equal(first, first + kHidden, x[size(source)].begin() + token * kHidden));
    }
    for (int source = 0; source < kRanks; ++source) {
      for (std::int64_t token = 0; token < tokens[size(source)]; ++token) {
        if (!kernels::goes_to(direct, experts[size(source)].data() + token * kSlots, rank))
          continue;
        expected.emplace_back(source, token);
        ++copies[size(source)][size(token)];
      }
    }
    std::sort(found.begin(), found.end());
    CHECK(found == expected);
  }

  // What a rank received is what it returns; nodes add up before the token's rank does.
  for (std::size_t hop = kRanksOfNode; hop < hops.size(); ++hop)
    hops[hop].combine_from(&Part::rows, ctas);
  for (int rank = 0; rank < kRanks; ++rank) {
    check(cudaMemcpy(across[size(rank)].rows.get(), within[size(rank)].returned.get(),
                     size(within[size(rank)].sent * kHidden) * sizeof(Bf16),
                     cudaMemcpyDeviceToDevice),
          "what a node added up");
  }
  for (std::size_t hop = 0; hop < kRanksOfNode; ++hop) hops[hop].combine_from(&Part::rows, ctas);
  for (int rank = 0; rank < kRanks; ++rank) {
    CAPTURE(rank);
    std::vector<double> out = doubles(across[size(rank)].returned.host()), sum = x[size(rank)];
    out.resize(sum.size());
    for (std::size_t at = 0; at < sum.size(); ++at)
      sum[at] *= copies[size(rank)][at / size(kHidden)];
    CHECK(out == sum);
  }
}

}  // namespace
}  // namespace orrery::cuda
