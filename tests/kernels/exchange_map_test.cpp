#include "kernels/exchange_map.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <vector>

#include "kernels/permute.hpp"
#include "workload/random.hpp"

namespace orrery::kernels {
namespace {

using Numbers = std::vector<std::int32_t>;
constexpr std::int32_t kPoison = -77;

struct Maps {
  std::vector<std::int64_t> offsets;
  Numbers token_of_sent, destination_of, row_of;
};

// Every element starts at a value that no map holds.
Maps make_maps(const ExchangeShape& shape, const Numbers& experts) {
  Maps maps;
  maps.offsets.assign(static_cast<std::size_t>(shape.destinations) + 1, kPoison);
  count_sent(shape, experts.data(), maps.offsets.data());
  maps.token_of_sent.assign(static_cast<std::size_t>(maps.offsets.back()), kPoison);
  list_sent(shape, experts.data(), maps.offsets.data(), maps.token_of_sent.data());
  maps.destination_of.assign(experts.size(), kPoison);
  maps.row_of.assign(experts.size(), kPoison);
  map_exchange(shape, experts.data(), maps.destination_of.data(), maps.row_of.data());
  return maps;
}

// The choices of a node-limited router: top_k distinct experts on at most `limit` nodes, in any
// order; now and then a slot is not used.
Numbers random_experts(std::int64_t tokens, std::int32_t slots, std::int32_t nodes,
                       std::int32_t experts_of_node, std::int32_t limit, std::uint64_t seed) {
  Random random(seed);
  Numbers experts;
  for (std::int64_t token = 0; token < tokens; ++token) {
    Numbers open;
    while (static_cast<std::int32_t>(open.size()) < limit) open.push_back(random.below(nodes));
    std::set<std::int32_t> chosen;
    for (std::int32_t slot = 0; slot < slots; ++slot) {
      const std::int32_t node = open[static_cast<std::size_t>(random.below(limit))];
      const std::int32_t expert = node * experts_of_node + random.below(experts_of_node);
      experts.push_back(random.below(16) > 0 && chosen.insert(expert).second ? expert : -1);
    }
  }
  return experts;
}

// The rule in other words: for every destination the tokens with an expert there, in order.
std::vector<Numbers> tokens_by_destination(const ExchangeShape& shape, const Numbers& experts) {
  std::vector<Numbers> out;
  for (std::int32_t destination = 0; destination < shape.destinations; ++destination) {
    const std::int32_t first = shape.first_expert + destination * shape.experts_each;
    std::set<std::int32_t> tokens;
    for (std::size_t at = 0; at < experts.size(); ++at) {
      if (experts[at] >= first && experts[at] < first + shape.experts_each)
        tokens.insert(static_cast<std::int32_t>(at) / shape.slots);
    }
    out.emplace_back(tokens.begin(), tokens.end());
  }
  return out;
}

void check_maps(const ExchangeShape& shape, const Numbers& experts) {
  const Maps maps = make_maps(shape, experts);
  const std::vector<Numbers> expected = tokens_by_destination(shape, experts);
  Numbers list;
  std::map<std::int32_t, std::vector<std::pair<std::int32_t, std::int32_t>>> of_token;
  for (std::int32_t destination = 0; destination < shape.destinations; ++destination) {
    const Numbers& tokens = expected[static_cast<std::size_t>(destination)];
    CHECK(maps.offsets[static_cast<std::size_t>(destination)] ==
          static_cast<std::int64_t>(list.size()));
    for (std::int32_t row = 0; row < static_cast<std::int32_t>(tokens.size()); ++row)
      of_token[tokens[static_cast<std::size_t>(row)]].emplace_back(destination, row);
    list.insert(list.end(), tokens.begin(), tokens.end());
  }
  CHECK(maps.offsets.back() == static_cast<std::int64_t>(list.size()));
  CHECK(maps.token_of_sent == list);
  Numbers destination_of(experts.size(), -1), row_of(experts.size(), -1);
  for (const auto& [token, rows] : of_token) {
    auto at = static_cast<std::size_t>(token) * static_cast<std::size_t>(shape.slots);
    for (const auto& [destination, row] : rows) {
      destination_of[at] = destination;
      row_of[at++] = row;
    }
  }
  CHECK(maps.destination_of == destination_of);
  CHECK(maps.row_of == row_of);
  // What the device's kernel asks, destination by destination.
  for (std::int64_t token = 0; token < shape.tokens; ++token) {
    const std::int32_t* choices = experts.data() + token * shape.slots;
    const auto& rows = of_token[static_cast<std::int32_t>(token)];
    const auto count = static_cast<std::int32_t>(rows.size());
    CHECK(destinations_below(shape, choices, shape.destinations) == count);
    std::int32_t place = 0;
    for (std::int32_t destination = 0; destination < shape.destinations; ++destination) {
      const bool goes = place < count && rows[static_cast<std::size_t>(place)].first == destination;
      CHECK(goes_to(shape, choices, destination) == goes);
      CHECK(destinations_below(shape, choices, destination) == place);
      place += goes;
    }
  }
}

TEST_CASE("the worked examples of the exchange's headers") {
  const ExchangeShape shape{.tokens = 2, .slots = 2, .destinations = 2, .experts_each = 2};
  const Maps maps = make_maps(shape, {3, 1, 2, 3});
  CHECK(maps.offsets == std::vector<std::int64_t>{0, 1, 3});
  CHECK(maps.token_of_sent == Numbers{0, 0, 1});
  CHECK(maps.destination_of == Numbers{0, 1, 1, -1});
  CHECK(maps.row_of == Numbers{0, 0, 1, -1});
  const ExchangeShape wide{.tokens = 1, .slots = 4, .destinations = 4, .experts_each = 8};
  CHECK(make_maps(wide, {25, 3, 30, 9}).destination_of == Numbers{0, 1, 3, -1});
}

TEST_CASE("each token goes once to every destination with one of its experts, in order") {
  const std::int64_t tokens = GENERATE(0, 1, 127, 129);
  const std::uint64_t seed = GENERATE(1u, 2u, 3u);
  CAPTURE(tokens, seed);
  // 4 nodes of 3 ranks with 2 experts, at most 2 nodes a token.
  const Numbers experts = random_experts(tokens, 5, 4, 6, 2, seed);
  check_maps({tokens, 5, 12, 0, 2}, experts);  // to ranks
  check_maps({tokens, 5, 4, 0, 6}, experts);   // to nodes
  check_maps({tokens, 5, 3, 12, 2}, experts);  // to the ranks of node 2
  check_maps({tokens, 5, 1, 0, 24}, experts);  // one destination has all experts
}

TEST_CASE("an exchange where a rank gets nothing, and where one gets all") {
  const ExchangeShape shape{.tokens = 129, .slots = 2, .destinations = 4, .experts_each = 2};
  Numbers none_to_rank_1, all_to_rank_3, unused(258, -1);
  for (std::int32_t token = 0; token < 129; ++token) {
    for (std::int32_t expert : {token % 2, 4 + token % 4}) none_to_rank_1.push_back(expert);
    for (std::int32_t expert : {7, 6}) all_to_rank_3.push_back(expert);
  }
  check_maps(shape, none_to_rank_1);
  check_maps(shape, all_to_rank_3);
  check_maps(shape, unused);
  CHECK(make_maps(shape, all_to_rank_3).offsets == std::vector<std::int64_t>{0, 0, 0, 0, 129});
  CHECK(make_maps(shape, unused).offsets == std::vector<std::int64_t>(5, 0));
}

TEST_CASE("rows of a receiver lie in the order of the members") {
  const Numbers counts = {1, 0, 5,  //
                          0, 0, 7,  //
                          4, 2, 3};
  CHECK(first_row_of(3, counts.data(), 0, 2) == 0);
  CHECK(first_row_of(3, counts.data(), 2, 2) == 12);
  CHECK(first_row_of(3, counts.data(), 3, 2) == 15);
  CHECK(first_row_of(3, counts.data(), 3, 1) == 2);
}

// A token reaches the same ranks by way of their nodes, and crosses to each node once.
TEST_CASE("two hops bring a token where one would") {
  const std::int64_t tokens = 200;
  const std::int32_t slots = 8, nodes = 8, ranks_of_node = 8, experts_of_rank = 4, limit = 4;
  const std::int32_t experts_of_node = ranks_of_node * experts_of_rank;
  const Numbers experts = random_experts(tokens, slots, nodes, experts_of_node, limit, 9);
  const auto direct =
      tokens_by_destination({tokens, slots, nodes * ranks_of_node, 0, experts_of_rank}, experts);
  const ExchangeShape across{tokens, slots, nodes, 0, experts_of_node};
  const Maps to_nodes = make_maps(across, experts);
  for (std::int64_t token = 0; token < tokens; ++token)
    CHECK(destinations_below(across, experts.data() + token * slots, nodes) <= limit);
  for (std::int32_t node = 0; node < nodes; ++node) {
    Numbers received, choices;
    for (std::int64_t at = to_nodes.offsets[static_cast<std::size_t>(node)];
         at < to_nodes.offsets[static_cast<std::size_t>(node) + 1]; ++at) {
      const std::int32_t token = to_nodes.token_of_sent[static_cast<std::size_t>(at)];
      received.push_back(token);
      const auto first = experts.begin() + token * slots;
      choices.insert(choices.end(), first, first + slots);
    }
    const auto within =
        tokens_by_destination({static_cast<std::int64_t>(received.size()), slots, ranks_of_node,
                               node * experts_of_node, experts_of_rank},
                              choices);
    for (std::int32_t rank = 0; rank < ranks_of_node; ++rank) {
      Numbers reached;
      for (std::int32_t row : within[static_cast<std::size_t>(rank)])
        reached.push_back(received[static_cast<std::size_t>(row)]);
      CHECK(reached == direct[static_cast<std::size_t>(node * ranks_of_node + rank)]);
    }
  }
}

// Sending rows and adding up what returns are each other's adjoint, so the gradient of either is
// the other: <send(x), y> = <x, add(y)>. Whole numbers: exact.
TEST_CASE("dispatch and combine along the maps are adjoint") {
  const std::int64_t tokens = 129, hidden = 3;
  const ExchangeShape shape{tokens, 5, 12, 0, 2};
  const Numbers experts = random_experts(tokens, 5, 4, 6, 2, 11);
  const Maps maps = make_maps(shape, experts);
  const std::int64_t sent = maps.offsets.back();
  Numbers row_of = maps.row_of;  // among all rows sent
  for (std::size_t at = 0; at < row_of.size(); ++at) {
    if (row_of[at] >= 0)
      row_of[at] += static_cast<std::int32_t>(
          maps.offsets[static_cast<std::size_t>(maps.destination_of[at])]);
  }
  Random random(12);
  const auto values = [&](std::int64_t count) {
    std::vector<double> made(static_cast<std::size_t>(count));
    for (double& value : made) value = random.below(100);
    return made;
  };
  const auto x = values(tokens * hidden), y = values(sent * hidden);
  std::vector<double> sent_x(y.size()), added_y(x.size());
  expand_rows<double>(sent, hidden, maps.token_of_sent.data(), x.data(), sent_x.data());
  reduce_rows<double>({tokens, 5}, hidden, row_of.data(), y.data(), added_y.data());
  double over_rows = 0, over_tokens = 0;
  for (std::size_t at = 0; at < y.size(); ++at) over_rows += sent_x[at] * y[at];
  for (std::size_t at = 0; at < x.size(); ++at) over_tokens += x[at] * added_y[at];
  CHECK(over_rows == over_tokens);
}

}  // namespace
}  // namespace orrery::kernels
