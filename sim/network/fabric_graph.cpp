#include "sim/network/fabric_graph.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "core/custom_fabric.hpp"
#include "core/error.hpp"

namespace orrery {
namespace {

int ceiling(int amount, int by) {
  return (amount + by - 1) / by;
}

// The fewest switches of `radix` ports that take `cables` cables from each of `lower` switches and
// divide them evenly.
int upper_switches(int lower, int cables, int radix) {
  int count = std::max(1, ceiling(lower * cables, radix));
  while (count < cables && cables % count != 0) ++count;
  return count;
}

class Builder {
 public:
  explicit Builder(const Cluster& cluster) : cluster_(cluster) {
    graph_.nics = cluster.nodes * cluster.nic.per_node;
  }

  FabricGraph run() {
    const Fabric& fabric = cluster_.fabric;
    switch (fabric.kind) {
      case FabricKind::kHost: break;
      case FabricKind::kCustom: custom(); break;
      case FabricKind::kMultiPlaneFatTree: {
        const int together = cluster_.nic.per_node / fabric.planes;
        for (int plane = 0; plane < fabric.planes; ++plane) {
          std::vector<std::vector<int>> rows(1);
          for (int node = 0; node < cluster_.nodes; ++node) {
            for (int nic = 0; nic < together; ++nic)
              rows[0].push_back(node * cluster_.nic.per_node + plane * together + nic);
          }
          tree(rows, together, plane);
        }
        break;
      }
      case FabricKind::kMultiRailFatTree: {
        std::vector<std::vector<int>> rails(static_cast<std::size_t>(cluster_.nic.per_node));
        for (int nic = 0; nic < graph_.nics; ++nic)
          rails[static_cast<std::size_t>(nic % cluster_.nic.per_node)].push_back(nic);
        tree(rails, 1, 0);
        break;
      }
      case FabricKind::kFatTree:
      case FabricKind::kSingleSwitch: {
        std::vector<std::vector<int>> rows(1);
        for (int nic = 0; nic < graph_.nics; ++nic) rows[0].push_back(nic);
        tree(rows, cluster_.nic.per_node, 0);
        break;
      }
    }
    return std::move(graph_);
  }

 private:
  int add_switch(int layer, int plane, int container, const char* role, int number) {
    std::string name = cluster_.fabric.planes > 1 ? fmt::format("plane{}.{}{}", plane, role, number)
                                                  : fmt::format("{}{}", role, number);
    graph_.switches.push_back({layer, plane, container, std::move(name)});
    return static_cast<int>(graph_.switches.size()) - 1;
  }

  // Each row of NICs fills leaves of its own, `together` NICs (those of a node) never parted; all
  // leaves then share the layers above.
  void tree(const std::vector<std::vector<int>>& rows, int together, int plane) {
    const Fabric& fabric = cluster_.fabric;
    const int nodes_per_leaf = fabric.switch_layers <= 1 || fabric.switch_radix == 0
                                   ? cluster_.nodes
                                   : cluster_.nodes_per_leaf();
    const auto per_leaf =
        static_cast<std::size_t>(nodes_per_leaf) * static_cast<std::size_t>(together);
    std::vector<int> leaves;
    for (const std::vector<int>& row : rows) {
      for (std::size_t at = 0; at < row.size(); at += per_leaf) {
        const int leaf =
            add_switch(0, plane, containers_++, "leaf", static_cast<int>(leaves.size()));
        leaves.push_back(leaf);
        for (std::size_t nic = at; nic < std::min(row.size(), at + per_leaf); ++nic)
          graph_.trunks.push_back({true, row[nic], leaf, cluster_.nic.bandwidth, 1});
      }
    }
    if (fabric.switch_layers <= 1 || leaves.size() == 1) return;
    const int up = cluster_.leaf_up_ports();
    if (fabric.switch_layers == 2) {
      join(leaves, upper_switches(static_cast<int>(leaves.size()), up, fabric.switch_radix), up, 1,
           plane, "spine", -1);
      return;
    }
    // Pods of radix / 2 leaves; an aggregation switch gives half its ports to its leaves.
    const auto pod_leaves = static_cast<std::size_t>(std::max(1, fabric.switch_radix / 2));
    std::vector<int> aggregation;
    for (std::size_t at = 0; at < leaves.size(); at += pod_leaves) {
      const std::vector<int> pod(
          leaves.begin() + static_cast<std::ptrdiff_t>(at),
          leaves.begin() + static_cast<std::ptrdiff_t>(std::min(leaves.size(), at + pod_leaves)));
      const std::vector<int> above = join(pod, up, up, 1, plane, "agg", containers_++);
      aggregation.insert(aggregation.end(), above.begin(), above.end());
    }
    if (leaves.size() <= pod_leaves) return;
    // Core switches come in planes, one for each aggregation switch of a pod.
    const int core_cables = fabric.switch_radix - fabric.switch_radix / 2;
    const auto pods = static_cast<int>(aggregation.size()) / up;
    for (int place = 0; place < up; ++place) {
      std::vector<int> lower;
      for (int pod = 0; pod < pods; ++pod)
        lower.push_back(aggregation[static_cast<std::size_t>(pod * up + place)]);
      join(lower, upper_switches(pods, core_cables, fabric.switch_radix), core_cables, 2, plane,
           "core", -1);
    }
  }

  // `count` switches above `lower`, each of which spreads `cables` over them.
  std::vector<int> join(const std::vector<int>& lower, int count, int cables, int layer, int plane,
                        const char* role, int container) {
    std::vector<int> upper;
    for (int place = 0; place < count; ++place) {
      const int number = numbers_[{layer, plane}]++;
      upper.push_back(
          add_switch(layer, plane, container < 0 ? containers_++ : container, role, number));
    }
    for (int from : lower) {
      for (int place = 0; place < count; ++place) {
        const int own = cables / count + (place < cables % count ? 1 : 0);
        if (own > 0)
          graph_.trunks.push_back(
              {false, from, upper[static_cast<std::size_t>(place)], cluster_.nic.bandwidth, own});
      }
    }
    return upper;
  }

  void custom() {
    for (const std::string& name : cluster_.fabric.switches)
      graph_.switches.push_back({0, 0, containers_++, name});
    for (const ResolvedCable& cable : resolve_cables(cluster_)) {
      const bool flip = cable.from.is_switch && !cable.to.is_switch;
      const CableEnd& from = flip ? cable.to : cable.from;
      const CableEnd& to = flip ? cable.from : cable.to;
      graph_.trunks.push_back(
          {!from.is_switch, from.number, to.number, cable.bandwidth, cable.count});
    }
  }

  const Cluster& cluster_;
  FabricGraph graph_;
  int containers_ = 0;
  std::map<std::pair<int, int>, int> numbers_;  // switches so far, by layer and plane
};

}  // namespace

std::int64_t FabricGraph::switch_cables() const {
  std::int64_t count = 0;
  for (const Trunk& trunk : trunks) count += trunk.from_nic ? 0 : trunk.cables;
  return count;
}

std::int64_t FabricGraph::nic_cables() const {
  std::int64_t count = 0;
  for (const Trunk& trunk : trunks) count += trunk.from_nic ? trunk.cables : 0;
  return count;
}

FabricGraph build_fabric(const Cluster& cluster) {
  return Builder(cluster).run();
}

double FabricSize::cost_usd(double switch_usd, double cable_usd) const {
  return static_cast<double>(switches) * switch_usd + static_cast<double>(cables) * cable_usd;
}

FabricSize two_layer_fat_tree(int radix, int planes) {
  const std::int64_t k = radix;
  return {planes * k * k / 2, planes * 3 * k / 2, planes * k * k / 2};
}

FabricSize three_layer_fat_tree(int radix) {
  const std::int64_t k = radix;
  return {k * k * k / 4, 5 * k * k / 4, k * k * k / 2};
}

FabricSize slim_fly(int q, int endpoints) {
  const std::int64_t switches = 2LL * q * q;
  const int remainder = q % 4 == 3 ? -1 : q % 4;
  return {switches * endpoints, switches, switches * ((3LL * q - remainder) / 2) / 2};
}

FabricSize dragonfly(int p, int a, int h, int groups) {
  const std::int64_t switches = static_cast<std::int64_t>(groups) * a;
  return {switches * p, switches, switches * (a - 1) / 2 + switches * h / 2};
}

}  // namespace orrery
