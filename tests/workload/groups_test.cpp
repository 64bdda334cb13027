#include "workload/groups.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <numeric>
#include <random>
#include <set>

#include "tests/workload/example_programs.hpp"
#include "workload/parameter_exchange.hpp"
#include "workload/placement.hpp"
#include "workload/world.hpp"

namespace orrery {
namespace {

// The groups of one pipeline rank: members ascending.
std::vector<std::vector<int>> groups_of(GroupKind kind, const Layout& layout) {
  std::map<int, std::vector<int>> by_key;
  for (int gpu = 0; gpu < layout.tp * layout.cp * layout.dp; ++gpu)
    by_key[group_key(kind, layout, gpu)].push_back(gpu);
  std::vector<std::vector<int>> groups;
  for (const auto& [key, members] : by_key) groups.push_back(members);
  return groups;
}

using Groups = std::vector<std::vector<int>>;

}  // namespace

// Eight GPUs: replicas of two tensor-parallel neighbours {0, 1}, {2, 3}...
TEST_CASE("an expert group takes as many tensor-parallel neighbours as the replicas are too few") {
  CHECK(groups_of(GroupKind::kExpert, sizes(1, 4, 4, 2)) == Groups{{0, 2, 4, 6}, {1, 3, 5, 7}});
  CHECK(groups_of(GroupKind::kExpert, sizes(1, 4, 8, 2)) == Groups{{0, 1, 2, 3, 4, 5, 6, 7}});
  CHECK(groups_of(GroupKind::kExpertCopies, sizes(1, 4, 8, 2)) ==
        Groups{{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}});
  // Two replicas of four: ep = 4 takes two neighbours of each.
  CHECK(groups_of(GroupKind::kExpert, sizes(1, 2, 4, 4)) == Groups{{0, 1, 4, 5}, {2, 3, 6, 7}});
  CHECK(groups_of(GroupKind::kExpertCopies, sizes(1, 2, 4, 4)) ==
        Groups{{0, 2}, {1, 3}, {4, 6}, {5, 7}});
  // Blocks of two GPUs that share an expert.
  CHECK(groups_of(GroupKind::kExpert, sizes(1, 2, 4, 4, 1, 2)) ==
        Groups{{0, 2, 4, 6}, {1, 3, 5, 7}});
}

// Megatron's rank order for experts is etp, ep, then the copies: GPU = (copy * ep + place) * etp +
// expert tensor index.
TEST_CASE("groups over all of a tensor-parallel group are Megatron's") {
  for (const Layout& layout : {sizes(1, 4, 8, 2), sizes(1, 8, 16, 4, 2, 2), sizes(1, 1, 4, 4),
                               sizes(1, 6, 4, 2), sizes(1, 8, 4, 4, 1, 4)}) {
    CAPTURE(describe(layout));
    if (expert_fold(layout) != layout.tp / layout.etp) continue;
    for (int gpu = 0; gpu < layout.gpus(); ++gpu) {
      const GpuPlace place = gpu_place(layout, gpu);
      CHECK(place.expert == gpu / layout.etp % layout.ep);
      CHECK(place.expert_tensor == gpu % layout.etp);
    }
  }
}

TEST_CASE("of every layout, groups are whole and lie in nodes as their bytes are counted") {
  std::mt19937 random(5);
  int folded = 0;
  for (int drawn = 0; drawn < 2000; ++drawn) {
    const auto power = [&](unsigned below) { return 1 << random() % below; };
    Layout layout = sizes(1, power(5), power(7), power(4), power(2), power(3));
    const int replicas = layout.dp * layout.cp;
    if (layout.tp % layout.etp != 0) continue;
    if (replicas * layout.tp / layout.etp % layout.ep != 0) continue;
    folded += expert_fold(layout) > 1;
    Cluster cluster;
    cluster.gpus_per_node = std::min(8, layout.gpus());
    cluster.nodes = layout.gpus() / cluster.gpus_per_node;
    const Placement placement = place(cluster, layout);
    CAPTURE(describe(layout), layout.tp);
    // GPUs of the first GPU's node.
    const auto in_first_node = [&](const std::vector<int>& group) {
      return std::count_if(group.begin(), group.end(), [&](int gpu) {
        return gpu / cluster.gpus_per_node == group.front() / cluster.gpus_per_node;
      });
    };
    CHECK(placement.expert_fold(layout.ep) == expert_fold(layout));
    for (const std::vector<int>& group : groups_of(GroupKind::kExpert, layout)) {
      REQUIRE(static_cast<int>(group.size()) == layout.ep);
      CHECK(in_first_node(group) == placement.expert_group_gpus_per_node(layout.ep));
      // Members stand at their places, which is how a dispatch addresses them.
      for (std::size_t at = 0; at < group.size(); ++at)
        CHECK(gpu_place(layout, group[at]).expert == static_cast<int>(at));
    }
    const int copies = replicas * layout.tp / layout.etp / layout.ep;
    ParameterExchange exchange;
    exchange.set = ParameterSet::kExpert;
    exchange.pattern = Pattern::kReduceScatter;
    exchange.replicas = copies;
    const std::vector<Rank> ranks{Rank(0)};
    exchange.ranks = ranks;
    const Work work = parameter_exchange(placement, layout, exchange);
    for (const std::vector<int>& group : groups_of(GroupKind::kExpertCopies, layout)) {
      REQUIRE(static_cast<int>(group.size()) == copies);
      CHECK(in_first_node(group) == work.wire.in_node);
    }
  }
  CHECK(folded > 100);
}

}  // namespace orrery
