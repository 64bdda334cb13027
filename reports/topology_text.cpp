#include "reports/topology_text.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "reports/number.hpp"

namespace orrery {
namespace {

std::string rate(BytesPerSecond bandwidth) {
  return fmt::format("{:g} GB/s", in_gigabytes_per_second(bandwidth));
}

std::string latency(Seconds time) {
  return fmt::format("{:g} us", in_microseconds(time));
}

std::string count(std::int64_t number) {
  return grouped(static_cast<double>(number));
}

// "GPU i uses NIC i", "NIC 0 serves GPUs 0 to 1, ..."
std::string nic_map(const Cluster& cluster) {
  const int nics = cluster.nic.per_node;
  if (!cluster.nic.serves.empty()) {
    std::string text;
    for (std::size_t nic = 0; nic < cluster.nic.serves.size(); ++nic)
      text += fmt::format("{}NIC {} serves GPU {}", nic == 0 ? "" : "; ", nic,
                          fmt::join(cluster.nic.serves[nic], ", "));
    return text;
  }
  if (nics == cluster.gpus_per_node) return "GPU i uses NIC i";
  return nics < cluster.gpus_per_node
             ? fmt::format("each serves {} GPUs", cluster.gpus_per_node / nics)
             : fmt::format("{} for each GPU", nics / cluster.gpus_per_node);
}

std::string structure(const Fabric& fabric) {
  std::string text(to_string(fabric.kind));
  if (fabric.kind == FabricKind::kCustom) {
    text += fmt::format(", {} switches in an edge list", fabric.switches.size());
  } else {
    if (fabric.planes > 1) text += fmt::format(", {} planes", fabric.planes);
    text +=
        fmt::format(" of {} layer{}", fabric.switch_layers, fabric.switch_layers == 1 ? "" : "s");
    if (fabric.switch_radix > 0) text += fmt::format(" of {}-port switches", fabric.switch_radix);
    text += fabric.oversubscription == 1
                ? ", full bisection"
                : fmt::format(", leaves {:g}:1 oversubscribed", fabric.oversubscription);
  }
  return text + fmt::format(", {} routing", to_string(fabric.routing));
}

std::string size_row(const std::string& label, const FabricSize& size, double cost) {
  std::string text = fmt::format("  {:<26}{:>12}{:>12}{:>14}", label, count(size.endpoints),
                                 count(size.switches), count(size.cables));
  if (cost > 0) {
    text += fmt::format("{:>16}{:>16}", money(Dollars{cost}),
                        fmt::format("${:.0f}", cost / static_cast<double>(size.endpoints)));
  }
  return text + "\n";
}

}  // namespace

std::string topology_text(const Cluster& cluster, const FabricSummary& summary) {
  const Fabric& fabric = cluster.fabric;
  std::string text = fmt::format("{}: {} node{} x {} {} = {} GPUs\n\n", cluster.name,
                                 count(cluster.nodes), cluster.nodes == 1 ? "" : "s",
                                 cluster.gpus_per_node, cluster.device, count(cluster.gpus()));
  if (fabric.kind == FabricKind::kHost)
    return text + "  The ranks are threads of one machine: there is no network.\n";
  text += fmt::format("  node       {}, {} a GPU each way, {}\n",
                      cluster.nvlink.pcie ? "PCIe" : "NVLink", rate(cluster.nvlink.bandwidth),
                      latency(cluster.nvlink.latency));
  if (cluster.nic.per_node > 0) {
    text += fmt::format("  NICs       {} a node, {} each way; {}\n", cluster.nic.per_node,
                        rate(cluster.nic.bandwidth), nic_map(cluster));
  }
  if (cluster.nodes == 1) return text + "  fabric     none: one node\n";
  text += fmt::format("  fabric     {}\n", structure(fabric));
  text += summary.switches_nearest == summary.switches_farthest
              ? fmt::format("  distance   {} switches between any two nodes: {}\n",
                            summary.switches_farthest,
                            latency(summary.switches_farthest == 1 ? fabric.same_leaf_latency
                                                                   : fabric.cross_leaf_latency))
              : fmt::format(
                    "  distance   {} to {} switches between two nodes: {} under one leaf, "
                    "{} across\n",
                    summary.switches_nearest, summary.switches_farthest,
                    latency(fabric.same_leaf_latency), latency(fabric.cross_leaf_latency));
  text += "\n  layer          switches  ports used  cables below   one direction\n";
  for (const SwitchLayer& layer : summary.layers) {
    text += fmt::format("  {:<12}{:>11}{:>12}{:>14}{:>16}\n", layer.name, count(layer.switches),
                        layer.most_ports_used, count(layer.cables_down),
                        fmt::format("{:.1f} TB/s", layer.bandwidth.value() / 1e12));
  }
  const bool priced = summary.cost_usd > 0;
  text += fmt::format("\n  {:<26}{:>12}{:>12}{:>14}", "", "endpoints", "switches", "switch links");
  if (priced) text += fmt::format("{:>16}{:>16}", "cost", "an endpoint");
  text += "\n" + size_row("as built", summary.size, summary.cost_usd);
  if (summary.largest.endpoints > summary.size.endpoints) {
    text += size_row("the largest of its kind", summary.largest,
                     summary.largest.cost_usd(fabric.switch_usd, fabric.cable_usd));
  }
  text += priced
              ? fmt::format(
                    "  cost: ${:.0f} a switch and ${:.0f} a link between switches; NICs "
                    "and their cables apart\n",
                    fabric.switch_usd, fabric.cable_usd)
              : "  cost: not known, for the file gives no switch_usd and cable_usd in [fabric]\n";
  return text;
}

std::string topology_json(const Cluster& cluster, const FabricSummary& summary) {
  using Json = nlohmann::ordered_json;
  Json layers = Json::array();
  for (const SwitchLayer& layer : summary.layers) {
    layers.push_back({{"name", layer.name},
                      {"switches", layer.switches},
                      {"ports_used", layer.most_ports_used},
                      {"cables_below", layer.cables_down},
                      {"bandwidth_bytes_per_s", layer.bandwidth.value()}});
  }
  Json out = {{"format_version", "1.0"},
              {"cluster", cluster.name},
              {"nodes", cluster.nodes},
              {"gpus", cluster.gpus()},
              {"fabric", std::string(to_string(cluster.fabric.kind))},
              {"endpoints", summary.size.endpoints},
              {"switches", summary.size.switches},
              {"switch_links", summary.size.cables},
              {"nic_links", summary.nic_cables},
              {"layers", std::move(layers)}};
  if (summary.cost_usd > 0) {
    out["cost_usd"] = summary.cost_usd;
    out["cost_per_endpoint_usd"] = summary.cost_usd / static_cast<double>(summary.size.endpoints);
  }
  return out.dump(2) + "\n";
}

}  // namespace orrery
