// The exchange of a group whose ranks are all on one device, against the host's maps and sums.
#include <cstring>

#include "kernels/cuda/combine.hpp"
#include "kernels/cuda/dispatch.hpp"
#include "kernels/exchange_map.hpp"
#include "kernels/permute.hpp"
#include "tests/kernels/cuda/exchange_choices.hpp"

namespace orrery::cuda {
namespace {

// Tables of addresses, one of the regions of one array a rank.
template <class T>
Device<T*> regions(const Device<T>& all, std::int64_t each) {
  std::vector<T*> table;
  for (int rank = 0; rank < kRanks; ++rank) table.push_back(all.get() + rank * each);
  return Device<T*>(table);
}

// The ranks' maps as the host makes them.
struct HostGroup {
  std::vector<std::int64_t> tokens;
  std::vector<Numbers> experts, token_of_sent, destination_of, row_of;
  std::vector<std::vector<std::int64_t>> offsets;
  Numbers counts;
  std::int64_t most_rows = 1;  // that a receiver gets

  kernels::ExchangeShape shape(int rank) const {
    return {tokens[size(rank)], kSlots, kRanks, 0, kExpertsOfRank};
  }
  std::int64_t first_row(int source, int receiver) const {
    return kernels::first_row_of(kRanks, counts.data(), source, receiver);
  }
};

HostGroup host_group(const std::vector<std::int64_t>& tokens, Load load) {
  HostGroup group;
  group.tokens = tokens;
  for (int rank = 0; rank < kRanks; ++rank) {
    const std::int64_t slots = tokens[size(rank)] * kSlots;
    group.experts.push_back(choices(tokens[size(rank)], load, 40 + static_cast<unsigned>(rank)));
    const auto shape = group.shape(rank);
    auto& offsets = group.offsets.emplace_back(kRanks + 1);
    kernels::count_sent(shape, group.experts.back().data(), offsets.data());
    kernels::list_sent(shape, group.experts.back().data(), offsets.data(),
                       group.token_of_sent.emplace_back(size(offsets.back())).data());
    kernels::map_exchange(shape, group.experts.back().data(),
                          group.destination_of.emplace_back(size(slots)).data(),
                          group.row_of.emplace_back(size(slots)).data());
    for (int receiver = 0; receiver < kRanks; ++receiver)
      group.counts.push_back(
          static_cast<std::int32_t>(offsets[size(receiver) + 1] - offsets[size(receiver)]));
  }
  for (int receiver = 0; receiver < kRanks; ++receiver)
    group.most_rows = std::max(group.most_rows, group.first_row(kRanks, receiver));
  return group;
}

// What a rank holds on the device.
struct DeviceRank {
  Device<std::int32_t> experts, destination_of, row_of, first_row;
  explicit DeviceRank(const Numbers& chosen)
      : experts(poisoned<std::int32_t>(static_cast<std::int64_t>(chosen.size()))),
        destination_of(poisoned<std::int32_t>(static_cast<std::int64_t>(chosen.size()))),
        row_of(poisoned<std::int32_t>(static_cast<std::int64_t>(chosen.size()))),
        first_row(poisoned<std::int32_t>(kRanks)) {
    check(cudaMemcpy(experts.get(), chosen.data(), chosen.size() * sizeof(std::int32_t),
                     cudaMemcpyHostToDevice),
          "copy to the device");
  }
  ExchangeMap map(std::int64_t tokens) const {
    return {tokens, kSlots, destination_of.get(), row_of.get(), first_row.get()};
  }
};

// Maps of all ranks, each with a matrix of counts of its own.
std::vector<DeviceRank> device_group(const HostGroup& group) {
  std::vector<DeviceRank> ranks;
  const auto counts = poisoned<std::int32_t>(kRanks * kRanks * kRanks);
  const auto counts_of_member = regions(counts, kRanks * kRanks);
  for (int rank = 0; rank < kRanks; ++rank) {
    DeviceRank& made = ranks.emplace_back(group.experts[size(rank)]);
    map_exchange(group.shape(rank), made.experts.get(), rank, counts_of_member.get(),
                 made.destination_of.get(), made.row_of.get(), nullptr);
  }
  for (int rank = 0; rank < kRanks; ++rank)
    first_rows(kRanks, rank, counts.get() + rank * kRanks * kRanks,
               ranks[size(rank)].first_row.get(), nullptr);
  const Numbers found = counts.host();
  for (int rank = 0; rank < kRanks; ++rank)
    CHECK(Numbers(found.begin() + rank * kRanks * kRanks,
                  found.begin() + (rank + 1) * kRanks * kRanks) == group.counts);
  return ranks;
}

// What receivers get of arrays [tokens][columns], the rest as poisoned:
// [ranks][most_rows][columns].
template <class T>
std::vector<T> host_received(const HostGroup& group, std::int64_t columns,
                             const std::vector<std::vector<T>>& arrays) {
  std::vector<T> out(size(kRanks * group.most_rows * columns));
  std::memset(static_cast<void*>(out.data()), 0xff, out.size() * sizeof(T));
  for (int source = 0; source < kRanks; ++source) {
    for (int receiver = 0; receiver < kRanks; ++receiver) {
      std::int64_t row = receiver * group.most_rows + group.first_row(source, receiver);
      const auto& offsets = group.offsets[size(source)];
      for (std::int64_t at = offsets[size(receiver)]; at < offsets[size(receiver) + 1]; ++at) {
        const std::int64_t token = group.token_of_sent[size(source)][size(at)];
        std::copy_n(arrays[size(source)].begin() + token * columns, columns,
                    out.begin() + row++ * columns);
      }
    }
  }
  return out;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// 0, 1, 127 and 129 tokens among the ranks.
HostGroup ragged_group() {
  const Load load = GENERATE(Load::kRandom, Load::kNoneToRank4, Load::kAllToRank1);
  CAPTURE(static_cast<int>(load));
  return host_group({129, 0, 1, 127, 64, 129}, load);
}

TEST_CASE("maps and counts of an exchange are the host's, whatever the load") {
  const HostGroup group = ragged_group();
  const auto ranks = device_group(group);
  for (int rank = 0; rank < kRanks; ++rank) {
    CAPTURE(rank);
    Numbers destination_of = ranks[size(rank)].destination_of.host(),
            row_of = ranks[size(rank)].row_of.host();
    destination_of.resize(group.experts[size(rank)].size());
    row_of.resize(destination_of.size());
    CHECK(destination_of == group.destination_of[size(rank)]);
    CHECK(row_of == group.row_of[size(rank)]);
    Numbers first;
    for (int receiver = 0; receiver < kRanks; ++receiver)
      first.push_back(static_cast<std::int32_t>(group.first_row(rank, receiver)));
    CHECK(ranks[size(rank)].first_row.host() == first);
  }
}

TEST_CASE("maps of an exchange longer than a block's round, to nodes and within one") {
  const std::int64_t tokens = 2 * 1024 + 129;
  const Numbers experts = choices(tokens, Load::kRandom, 46);
  const int experts_of_node = kRanksOfNode * kExpertsOfRank;
  for (const kernels::ExchangeShape& shape :
       {kernels::ExchangeShape{tokens, kSlots, kRanks / kRanksOfNode, 0, experts_of_node},
        kernels::ExchangeShape{tokens, kSlots, kRanksOfNode, experts_of_node, kExpertsOfRank}}) {
    const DeviceRank rank(experts);
    const auto counts = poisoned<std::int32_t>(kRanks * kRanks);
    const Device<std::int32_t*> table(
        std::vector<std::int32_t*>(size(shape.destinations), counts.get()));
    map_exchange(shape, rank.experts.get(), 0, table.get(), rank.destination_of.get(),
                 rank.row_of.get(), nullptr);
    Numbers destination_of(experts.size()), row_of(experts.size());
    kernels::map_exchange(shape, experts.data(), destination_of.data(), row_of.data());
    CHECK(rank.destination_of.host() == destination_of);
    CHECK(rank.row_of.host() == row_of);
  }
}

TEST_CASE(
    "dispatch brings rows, codes, scales, weights and choices, the same by any number of SMs") {
  const HostGroup group = ragged_group();
  const auto ranks = device_group(group);
  const std::int64_t tiles = kHidden / 128, most = group.most_rows;
  std::vector<std::vector<Bf16>> x;
  std::vector<std::vector<std::uint8_t>> codes;
  std::vector<std::vector<float>> scales, transposed, weights;
  for (int rank = 0; rank < kRanks; ++rank) {
    const std::int64_t tokens = group.tokens[size(rank)], stride = scale_stride(tokens);
    const auto seed = 50 + 4 * static_cast<unsigned>(rank);
    x.push_back(random_bf16(tokens * kHidden, seed));
    std::mt19937 generator(seed + 1);
    for (auto& code : codes.emplace_back(size(tokens * kHidden)))
      code = static_cast<std::uint8_t>(generator());
    scales.push_back(random_floats(tokens * tiles, seed + 2));
    auto& columns = transposed.emplace_back(size(tiles * stride));
    for (std::int64_t token = 0; token < tokens; ++token) {
      for (std::int64_t tile = 0; tile < tiles; ++tile)
        columns[size(tile * stride + token)] = scales.back()[size(token * tiles + tile)];
    }
    weights.push_back(random_floats(tokens * kSlots, seed + 3));
  }
  for (const int ctas : {1, 8, 20}) {
    CAPTURE(ctas);
    const auto rows = poisoned<Bf16>(kRanks * most * kHidden);
    const auto codes_in = poisoned<std::uint8_t>(kRanks * most * kHidden);
    const auto scales_in = poisoned<float>(kRanks * most * tiles);
    const auto weights_in = poisoned<float>(kRanks * most * kSlots);
    const auto experts_in = poisoned<std::int32_t>(kRanks * most * kSlots);
    const auto rows_to = regions(rows, most * kHidden);
    const auto codes_to = regions(codes_in, most * kHidden);
    const auto scales_to = regions(scales_in, most * tiles);
    const auto weights_to = regions(weights_in, most * kSlots);
    const auto experts_to = regions(experts_in, most * kSlots);
    const auto table = [](const auto& of) { return reinterpret_cast<void* const*>(of.get()); };
    for (int rank = 0; rank < kRanks; ++rank) {
      const std::int64_t tokens = group.tokens[size(rank)];
      if (tokens == 0) continue;
      const ExchangeMap map = ranks[size(rank)].map(tokens);
      const Device<Bf16> device_x(x[size(rank)]);
      const Device<std::uint8_t> device_codes(codes[size(rank)]);
      const Device<float> device_scales(transposed[size(rank)]),
          device_weights(weights[size(rank)]);
      const SentRows bf16[] = {{2 * kHidden, device_x.get(), table(rows_to)}};
      const SentRows fp8[] = {
          {kHidden, device_codes.get(), table(codes_to)},
          {4 * tiles, device_scales.get(), table(scales_to), scale_stride(tokens)},
          {4 * kSlots, device_weights.get(), table(weights_to)},
          {4 * kSlots, ranks[size(rank)].experts.get(), table(experts_to)}};
      dispatch(map, bf16, {}, ctas, nullptr);
      dispatch(map, fp8, {}, ctas, nullptr);
      check(cudaDeviceSynchronize(), "dispatch");
    }
    CHECK(same_bits(rows.host(), host_received(group, kHidden, x)));
    CHECK(same_bits(codes_in.host(), host_received(group, kHidden, codes)));
    CHECK(same_bits(scales_in.host(), host_received(group, tiles, scales)));
    CHECK(same_bits(weights_in.host(), host_received(group, kSlots, weights)));
    CHECK(same_bits(experts_in.host(), host_received(group, kSlots, group.experts)));
  }
}

TEST_CASE("combine adds up what returns, in one order by any number of SMs") {
  const HostGroup group = ragged_group();
  const auto ranks = device_group(group);
  const std::int64_t most = group.most_rows;
  const auto y = random_bf16(kRanks * most * kHidden, 80);
  const auto dweights = random_floats(kRanks * most * kSlots, 81);
  const Device<Bf16> device_y(y);
  const Device<float> device_dweights(dweights);
  const auto rows_from = regions(device_y, most * kHidden);
  const auto weights_from = regions(device_dweights, most * kSlots);
  for (int rank = 0; rank < kRanks; ++rank) {
    CAPTURE(rank);
    const std::int64_t tokens = group.tokens[size(rank)];
    Numbers rows = group.row_of[size(rank)];  // among those of all ranks
    for (std::size_t at = 0; at < rows.size(); ++at) {
      const int receiver = group.destination_of[size(rank)][at];
      if (receiver >= 0)
        rows[at] += static_cast<std::int32_t>(receiver * most + group.first_row(rank, receiver));
    }
    std::vector<double> expected(size(tokens * kHidden)), expected_weights(size(tokens * kSlots));
    const kernels::PermuteShape shape{tokens, kSlots, 0, 0};
    kernels::reduce_rows<double>(shape, kHidden, rows.data(), doubles(y).data(), expected.data());
    kernels::reduce_rows<double>(shape, kSlots, rows.data(), doubles(dweights).data(),
                                 expected_weights.data());
    std::vector<Bf16> first;
    std::vector<float> first_weights;
    for (const int ctas : {1, 8, 20}) {
      CAPTURE(ctas);
      const auto out = poisoned<Bf16>(tokens * kHidden);
      const auto weights_out = poisoned<float>(tokens * kSlots);
      combine(ranks[size(rank)].map(tokens), {kHidden, rows_from.get(), out.get()},
              {kSlots, weights_from.get(), weights_out.get()}, {}, ctas, nullptr);
      std::vector<Bf16> found = out.host();
      std::vector<float> found_weights = weights_out.host();
      found.resize(expected.size());
      found_weights.resize(expected_weights.size());
      CHECK(difference(doubles(found), expected) < kBf16Tolerance);
      CHECK(difference(doubles(found_weights), expected_weights) < 1e-6);
      if (ctas == 1) {
        first = found;
        first_weights = found_weights;
      }
      CHECK(same_bits(found, first));
      CHECK(same_bits(found_weights, first_weights));
    }
  }
}

TEST_CASE("an exchange keeps the pace of its link, its own rows aside", "[time]") {
  const std::int64_t tokens = 4096;
  // Of the two destinations of every token the second is this rank.
  const std::vector<std::int32_t> experts = [] {
    Numbers made;
    for (std::int64_t token = 0; token < tokens; ++token) made.insert(made.end(), {0, 1});
    return made;
  }();
  const Device<std::int32_t> chosen(experts);
  const auto counts = poisoned<std::int32_t>(4);
  const Device<std::int32_t*> counts_of(std::vector<std::int32_t*>(2, counts.get()));
  const auto destination_of = poisoned<std::int32_t>(2 * tokens),
             row_of = poisoned<std::int32_t>(2 * tokens);
  map_exchange({tokens, 2, 2, 0, 1}, chosen.get(), 1, counts_of.get(), destination_of.get(),
               row_of.get(), nullptr);
  const Device<Bf16> x(random_bf16(tokens * kHidden, 82));
  const auto received = poisoned<Bf16>(2 * tokens * kHidden),
             out = poisoned<Bf16>(tokens * kHidden);
  const Device<Bf16*> table(std::vector<Bf16*>{received.get(), received.get() + tokens * kHidden});
  const ExchangeMap map{tokens, 2, destination_of.get(), row_of.get()};
  const SentRows rows[] = {{2 * kHidden, x.get(), reinterpret_cast<void* const*>(table.get())}};
  const ExchangeLink link{2e9, 1};
  cudaEvent_t begin = nullptr, end = nullptr;
  check(cudaEventCreate(&begin), "event");
  check(cudaEventCreate(&end), "event");
  const double expected = static_cast<double>(tokens * kHidden * 2) / link.rate * 1e3;
  for (const bool back : {false, true}) {
    CAPTURE(back);
    check(cudaEventRecord(begin), "event");
    if (back) {
      combine(map, {kHidden, table.get(), out.get()}, {}, link, 16, nullptr);
    } else {
      dispatch(map, rows, link, 16, nullptr);
    }
    check(cudaEventRecord(end), "event");
    check(cudaEventSynchronize(end), "event");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "event");
    CHECK(milliseconds >= 0.99 * expected);
    CHECK(milliseconds <= 1.2 * expected);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
}

TEST_CASE("an exchange refuses what there is no room for") {
  const SentRows rows[kMostSentArrays + 1] = {};
  const ExchangeMap map;
  CHECK_THROWS_AS(dispatch(map, rows, {}, 20, nullptr), DeviceError);
  CHECK_THROWS_AS(dispatch(map, {rows, 1}, {}, 0, nullptr), DeviceError);
  CHECK_THROWS_AS(combine(map, {12}, {}, {}, 20, nullptr), DeviceError);
  CHECK_THROWS_AS(combine(map, {16}, {}, {}, 0, nullptr), DeviceError);
  CHECK_THROWS_AS(map_exchange({1, 33, 1, 0, 1}, nullptr, 0, nullptr, nullptr, nullptr, nullptr),
                  DeviceError);
}

}  // namespace
}  // namespace orrery::cuda
