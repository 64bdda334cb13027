// Fabrics as graphs, against the published counts and against what their structure promises.
#include "sim/network/fabric_graph.hpp"

#include <catch2/catch.hpp>
#include <iostream>
#include <set>

#include "core/cluster_reader.hpp"
#include "sim/network/router.hpp"

namespace orrery {
namespace {

Cluster cluster_of(FabricKind kind, int nodes, int layers, int radix) {
  Cluster cluster = read_cluster("topologies/h800-2048.toml");
  cluster.nodes = nodes;
  cluster.fabric.kind = kind;
  cluster.fabric.planes = kind == FabricKind::kMultiPlaneFatTree ? 8 : 1;
  cluster.fabric.switch_layers = layers;
  cluster.fabric.switch_radix = radix;
  return cluster;
}

FabricSize size_of(const Cluster& cluster) {
  const FabricGraph graph = build_fabric(cluster);
  return {graph.nics, static_cast<std::int64_t>(graph.switches.size()), graph.switch_cables()};
}

}  // namespace

// ISCA 2025 (arXiv 2505.09343), table 3: 64-port switches.
TEST_CASE("the published comparison of fabrics: endpoints, switches, links and cost") {
  struct Row {
    const char* name;
    FabricSize ours;
    std::int64_t endpoints, switches, links;
    double cost_musd, endpoint_kusd;
  };
  // The first three are built cable by cable.
  const Row rows[] = {
      {"FT2", size_of(cluster_of(FabricKind::kFatTree, 256, 2, 64)), 2048, 96, 2048, 9, 4.39},
      {"MPFT", size_of(cluster_of(FabricKind::kMultiPlaneFatTree, 2048, 2, 64)), 16384, 768, 16384,
       72, 4.39},
      {"FT3", size_of(cluster_of(FabricKind::kFatTree, 8192, 3, 64)), 65536, 5120, 131072, 491,
       7.5},
      {"Slim Fly", slim_fly(28, 21), 32928, 1568, 32928, 146, 4.4},
      {"Dragonfly", dragonfly(16, 32, 16, 511), 261632, 16352, 384272, 1522, 5.8},
  };
  const Fabric prices = read_cluster("topologies/h800-2048.toml").fabric;
  for (const Row& row : rows) {
    const double cost = row.ours.cost_usd(prices.switch_usd, prices.cable_usd) / 1e6;
    const double endpoint = 1e3 * cost / static_cast<double>(row.ours.endpoints);
    std::cout << "  " << row.name << ": " << row.ours.endpoints << " endpoints, "
              << row.ours.switches << " switches, " << row.ours.cables << " links, " << cost
              << " M$ (published " << row.cost_musd << ", " << 100 * (cost / row.cost_musd - 1)
              << " %), " << endpoint << " k$ an endpoint (" << row.endpoint_kusd << ")\n";
    CAPTURE(row.name);
    CHECK(row.ours.endpoints == row.endpoints);
    CHECK(row.ours.switches == row.switches);
    CHECK(row.ours.cables == row.links);
    CHECK(cost == Approx(row.cost_musd).epsilon(0.02));
    CHECK(endpoint == Approx(row.endpoint_kusd).epsilon(0.03));
  }
  // The formulas give what the graphs have.
  CHECK(two_layer_fat_tree(64).switches == 96);
  CHECK(two_layer_fat_tree(64, 8).cables == 16384);
  CHECK(three_layer_fat_tree(64).cables == 131072);
}

TEST_CASE("no switch of a fat tree uses more ports than it has, and every NIC one cable") {
  for (const FabricKind kind :
       {FabricKind::kMultiPlaneFatTree, FabricKind::kMultiRailFatTree, FabricKind::kFatTree}) {
    for (int nodes : {2, 3, 8, 40, 61}) {
      for (int layers : {1, 2, 3}) {
        for (int radix : {16, 32, 64}) {
          for (double oversubscription : {1.0, 3.0}) {
            Cluster cluster = cluster_of(kind, nodes, layers, radix);
            cluster.fabric.oversubscription = oversubscription;
            const int in_plane = nodes * 8 / cluster.fabric.planes;
            if (in_plane > endpoints_per_plane(cluster.fabric)) continue;
            CAPTURE(to_string(kind), nodes, layers, radix, oversubscription);
            const FabricGraph graph = build_fabric(cluster);
            std::vector<int> ports(graph.switches.size(), 0);
            std::vector<int> cables(static_cast<std::size_t>(graph.nics), 0);
            for (const Trunk& trunk : graph.trunks) {
              ports[static_cast<std::size_t>(trunk.to)] += trunk.cables;
              if (trunk.from_nic) {
                ++cables[static_cast<std::size_t>(trunk.from)];
              } else {
                ports[static_cast<std::size_t>(trunk.from)] += trunk.cables;
                REQUIRE(graph.switches[static_cast<std::size_t>(trunk.from)].layer + 1 ==
                        graph.switches[static_cast<std::size_t>(trunk.to)].layer);
              }
            }
            REQUIRE(*std::max_element(ports.begin(), ports.end()) <= radix);
            for (int own : cables) REQUIRE(own == 1);
          }
        }
      }
    }
  }
}

TEST_CASE("paths are shortest, stay in their plane and use every cable of a static spread evenly") {
  const Cluster cluster = read_cluster("topologies/h800-2048.toml");
  const FabricGraph graph = build_fabric(cluster);
  const Router router(graph, Routing::kStatic);
  // Nodes 0 to 31 share leaves.
  CHECK(router.path(0, 8 * 31)->empty());
  CHECK(router.path(0, 8 * 32)->size() == 2);
  CHECK_FALSE(router.path(0, 8 * 32 + 1));  // another plane
  // From one leaf to every NIC of another: 32 destinations over 32 upward cables.
  std::set<std::pair<int, int>> cables;
  for (int node = 32; node < 64; ++node) {
    const auto path = *router.path(0, 8 * node);
    CHECK(path.front().up);
    CHECK_FALSE(path.back().up);
    cables.emplace(path.front().trunk, path.front().cable);
  }
  CHECK(cables.size() == 32 / std::gcd(32, 8));  // destinations are eight apart
  CHECK(Router(graph, Routing::kAdaptive).path(0, 8 * 32)->front().cable == -1);
}

TEST_CASE("three layers: five switches from pod to pod, three within, one under a leaf") {
  const Cluster cluster = read_cluster("topologies/h800-65536.toml");
  const FabricGraph graph = build_fabric(cluster);
  const Router router(graph, Routing::kAdaptive);
  CHECK(router.path(0, 8 * 31)->empty());
  CHECK(router.path(0, 8 * 1023)->size() == 2);
  CHECK(router.path(0, 8 * 1024)->size() == 4);
}

TEST_CASE("dead trunks are gone round, and where none is left there is no path") {
  const Cluster cluster = cluster_of(FabricKind::kFatTree, 16, 2, 64);  // four leaves
  const FabricGraph graph = build_fabric(cluster);
  std::vector<char> dead(graph.trunks.size(), 0);
  const int first = Router(graph, Routing::kAdaptive).path(0, 127)->front().trunk;
  dead[static_cast<std::size_t>(first)] = 1;
  CHECK(Router(graph, Routing::kAdaptive, dead).path(0, 127)->front().trunk != first);
  const int leaf = Router(graph, Routing::kAdaptive).switch_of(0);
  for (std::size_t trunk = 0; trunk < graph.trunks.size(); ++trunk) {
    if (!graph.trunks[trunk].from_nic && graph.trunks[trunk].from == leaf) dead[trunk] = 1;
  }
  CHECK_FALSE(Router(graph, Routing::kAdaptive, dead).path(0, 127));
}

}  // namespace orrery
