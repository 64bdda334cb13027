#include "sim/network/router.hpp"

#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/breadth_first_search.hpp>
#include <limits>

namespace orrery {
namespace {

struct Edge {
  int trunk = 0;
  bool up = true;
};
using Graph =
    boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, boost::no_property, Edge>;

constexpr int kUnreached = std::numeric_limits<int>::max();

// Splitmix64: neighbouring numbers give unrelated hashes.
std::uint64_t hashed(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15ULL;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
  return value ^ (value >> 31);
}

}  // namespace

struct Router::Search {
  const FabricGraph& fabric;
  Routing routing;
  Graph graph;
  std::vector<int> home;       // by NIC
  std::vector<int> component;  // by switch
  std::vector<std::vector<int>>
      distances;  // by destination switch, of every switch; made on demand

  Search(const FabricGraph& fabric_, Routing routing_, const std::vector<char>& dead)
      : fabric(fabric_),
        routing(routing_),
        graph(fabric_.switches.size()),
        home(static_cast<std::size_t>(fabric_.nics), -1),
        distances(fabric_.switches.size()) {
    for (std::size_t number = 0; number < fabric.trunks.size(); ++number) {
      const Trunk& trunk = fabric.trunks[number];
      if (!dead.empty() && dead[number]) continue;
      if (trunk.from_nic) {
        home[static_cast<std::size_t>(trunk.from)] = trunk.to;
        continue;
      }
      const auto from = static_cast<std::size_t>(trunk.from);
      const auto to = static_cast<std::size_t>(trunk.to);
      boost::add_edge(from, to, Edge{static_cast<int>(number), true}, graph);
      boost::add_edge(to, from, Edge{static_cast<int>(number), false}, graph);
    }
  }

  void find_components() {
    component.assign(fabric.switches.size(), -1);
    int count = 0;
    std::vector<std::size_t> open;
    for (std::size_t start = 0; start < component.size(); ++start) {
      if (component[start] >= 0) continue;
      component[start] = count;
      open.push_back(start);
      while (!open.empty()) {
        const std::size_t at = open.back();
        open.pop_back();
        for (auto [edge, end] = boost::out_edges(at, graph); edge != end; ++edge) {
          const std::size_t next = boost::target(*edge, graph);
          if (component[next] >= 0) continue;
          component[next] = count;
          open.push_back(next);
        }
      }
      ++count;
    }
  }

  // Every cable works both ways, so distances to a switch are those from it.
  const std::vector<int>& distances_to(int target) {
    std::vector<int>& found = distances[static_cast<std::size_t>(target)];
    if (!found.empty()) return found;
    found.assign(fabric.switches.size(), kUnreached);
    found[static_cast<std::size_t>(target)] = 0;
    boost::breadth_first_search(graph, static_cast<std::size_t>(target),
                                boost::visitor(boost::make_bfs_visitor(
                                    boost::record_distances(found.data(), boost::on_tree_edge()))));
    return found;
  }

  Hop choose(const std::vector<Edge>& equal, int from_nic, int to_nic) const {
    if (routing == Routing::kAdaptive) {
      // In a tree the layer above is one; elsewhere the trunks differ.
      const std::size_t place =
          fabric.layered() ? 0 : static_cast<std::size_t>(to_nic) % equal.size();
      return {equal[place].trunk, equal[place].up, -1};
    }
    std::uint64_t cables = 0;
    for (const Edge& edge : equal)
      cables +=
          static_cast<std::uint64_t>(fabric.trunks[static_cast<std::size_t>(edge.trunk)].cables);
    const auto number = static_cast<std::uint64_t>(to_nic);
    std::uint64_t pick =
        routing == Routing::kStatic
            ? number % cables
            : hashed(hashed(static_cast<std::uint64_t>(from_nic)) ^ number) % cables;
    for (const Edge& edge : equal) {
      const auto own =
          static_cast<std::uint64_t>(fabric.trunks[static_cast<std::size_t>(edge.trunk)].cables);
      if (pick < own) return {edge.trunk, edge.up, static_cast<int>(pick)};
      pick -= own;
    }
    return {};
  }
};

Router::Router(const FabricGraph& graph, Routing routing, const std::vector<char>& dead)
    : search_(std::make_unique<Search>(graph, routing, dead)) {
  search_->find_components();
}
Router::~Router() = default;

int Router::switch_of(int nic) const {
  return search_->home[static_cast<std::size_t>(nic)];
}

int Router::component_of(int nic) const {
  const int home = switch_of(nic);
  return home < 0 ? -1 : search_->component[static_cast<std::size_t>(home)];
}

std::optional<std::vector<Hop>> Router::path(int from_nic, int to_nic) const {
  int at = switch_of(from_nic);
  const int target = switch_of(to_nic);
  if (at < 0 || target < 0) return std::nullopt;
  const std::vector<int>& distance = search_->distances_to(target);
  if (distance[static_cast<std::size_t>(at)] == kUnreached) return std::nullopt;
  std::vector<Hop> hops;
  std::vector<Edge> equal;
  while (at != target) {
    equal.clear();
    for (auto [edge, end] = boost::out_edges(static_cast<std::size_t>(at), search_->graph);
         edge != end; ++edge) {
      const std::size_t next = boost::target(*edge, search_->graph);
      if (distance[next] < distance[static_cast<std::size_t>(at)])
        equal.push_back(search_->graph[*edge]);
    }
    hops.push_back(search_->choose(equal, from_nic, to_nic));
    const Trunk& trunk = search_->fabric.trunks[static_cast<std::size_t>(hops.back().trunk)];
    at = hops.back().up ? trunk.to : trunk.from;
  }
  return hops;
}

}  // namespace orrery
