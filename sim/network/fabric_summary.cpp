#include "sim/network/fabric_summary.hpp"

#include <algorithm>

#include "core/cluster_reader.hpp"
#include "sim/network/router.hpp"

namespace orrery {
namespace {

std::vector<std::string> layer_names(const FabricGraph& graph) {
  if (!graph.layered()) return {graph.switches.size() == 1 ? "switch" : "leaf"};
  const int top = std::max_element(graph.switches.begin(), graph.switches.end(),
                                   [](const auto& a, const auto& b) { return a.layer < b.layer; })
                      ->layer;
  if (top == 1) return {"leaf", "spine"};
  return {"leaf", "agg", "core"};
}

}  // namespace

FabricSummary summarise_fabric(const Cluster& cluster) {
  FabricSummary summary;
  if (cluster.nodes == 1) return summary;
  const FabricGraph graph = build_fabric(cluster);
  const Fabric& fabric = cluster.fabric;
  summary.size = {graph.nics, static_cast<std::int64_t>(graph.switches.size()),
                  graph.switch_cables()};
  summary.nic_cables = graph.nic_cables();
  summary.cost_usd = summary.size.cost_usd(fabric.switch_usd, fabric.cable_usd);
  std::vector<int> ports(graph.switches.size(), 0);
  const bool custom = fabric.kind == FabricKind::kCustom;
  for (const std::string& name : custom ? std::vector<std::string>{"switch"} : layer_names(graph))
    summary.layers.push_back({name, 0, 0, 0, {}});
  for (const Trunk& trunk : graph.trunks) {
    const auto to = static_cast<std::size_t>(trunk.to);
    ports[to] += trunk.cables;
    if (!trunk.from_nic) ports[static_cast<std::size_t>(trunk.from)] += trunk.cables;
    SwitchLayer& layer = summary.layers[static_cast<std::size_t>(graph.switches[to].layer)];
    layer.cables_down += trunk.cables;
    layer.bandwidth += trunk.bandwidth * trunk.cables;
  }
  for (std::size_t number = 0; number < graph.switches.size(); ++number) {
    SwitchLayer& layer = summary.layers[static_cast<std::size_t>(graph.switches[number].layer)];
    ++layer.switches;
    layer.most_ports_used = std::max(layer.most_ports_used, ports[number]);
  }
  // From the first node: nodes of a tree all see the same.
  const Router router(graph, Routing::kStatic);
  for (int node = 1; node < cluster.nodes; ++node) {
    const auto path = router.path(0, node * cluster.nic.per_node);
    if (!path) continue;
    const int switches = static_cast<int>(path->size()) + 1;
    summary.switches_farthest = std::max(summary.switches_farthest, switches);
    summary.switches_nearest =
        summary.switches_nearest == 0 ? switches : std::min(summary.switches_nearest, switches);
  }
  if (!custom && fabric.oversubscription == 1 && fabric.switch_radix > 0) {
    if (fabric.switch_layers == 2)
      summary.largest = two_layer_fat_tree(fabric.switch_radix, fabric.planes);
    if (fabric.switch_layers == 3) {
      summary.largest = three_layer_fat_tree(fabric.switch_radix);
      summary.largest = {fabric.planes * summary.largest.endpoints,
                         fabric.planes * summary.largest.switches,
                         fabric.planes * summary.largest.cables};
    }
  }
  return summary;
}

}  // namespace orrery
