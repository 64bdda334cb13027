#include "core/cluster_reader.hpp"

#include <fmt/format.h>

#include <cmath>

#include "core/custom_fabric.hpp"
#include "core/model_reader.hpp"

namespace orrery {
namespace {

constexpr std::pair<std::string_view, FabricKind> kFabricWords[] = {
    {"multi-plane-fat-tree", FabricKind::kMultiPlaneFatTree},
    {"multi-rail-fat-tree", FabricKind::kMultiRailFatTree},
    {"fat-tree", FabricKind::kFatTree},
    {"single-switch", FabricKind::kSingleSwitch},
    {"custom", FabricKind::kCustom},
    {"host", FabricKind::kHost},
};

constexpr std::pair<std::string_view, Routing> kRoutingWords[] = {
    {"adaptive", Routing::kAdaptive},
    {"static", Routing::kStatic},
    {"ecmp", Routing::kEcmp},
};

NvlinkDomain decode_node_link(Reader& reader, bool pcie) {
  NvlinkDomain nvlink;
  nvlink.pcie = pcie;
  nvlink.bandwidth = reader.required_quantity<BytesPerSecond>("bandwidth", Zero::kForbidden);
  nvlink.latency = reader.required_quantity<Seconds>("latency", Zero::kAllowed);
  reader.finish();
  return nvlink;
}

// [[0, 1], [2, 3]]: which GPUs each NIC serves. Every NIC serves some, every GPU has one.
std::vector<std::vector<int>> decode_serves(Reader& reader, const Nic& nic, int gpus_per_node) {
  const Node* list = reader.node("serves");
  if (list == nullptr) return {};
  ReadContext& context = reader.context();
  const auto error = [&](const Node& node, std::string message, std::string hint = "") {
    context.diagnostics.error(node.place(context.file), std::move(message), std::move(hint));
  };
  if (list->kind != NodeKind::kArray) {
    error(*list,
          fmt::format("expected a list of GPUs for each NIC, found {}", with_article(list->kind)));
    return {};
  }
  if (static_cast<int>(list->children.size()) != nic.per_node) {
    error(*list, fmt::format("'serves' has {} lists for {} NICs a node", list->children.size(),
                             nic.per_node));
    return {};
  }
  std::vector<std::vector<int>> serves;
  std::vector<int> served_by(static_cast<std::size_t>(gpus_per_node), -1);
  for (const Node& gpus : list->children) {
    serves.emplace_back();
    const int number = static_cast<int>(serves.size()) - 1;
    if (gpus.kind != NodeKind::kArray || gpus.children.empty()) {
      error(gpus, fmt::format("NIC {} serves no GPU", number),
            "list the GPUs of the node that use it, as in [0, 1]");
      continue;
    }
    for (const Node& gpu : gpus.children) {
      if (gpu.kind != NodeKind::kInteger || gpu.integer < 0 || gpu.integer >= gpus_per_node) {
        error(gpu, fmt::format("expected a GPU of the node, 0 to {}", gpus_per_node - 1));
        continue;
      }
      int& owner = served_by[static_cast<std::size_t>(gpu.integer)];
      if (owner >= 0) {
        error(gpu, fmt::format("GPU {} is served by NIC {} already", gpu.integer, owner));
      }
      owner = number;
      serves.back().push_back(static_cast<int>(gpu.integer));
    }
  }
  for (int gpu = 0; gpu < gpus_per_node; ++gpu) {
    if (served_by[static_cast<std::size_t>(gpu)] < 0)
      error(*list, fmt::format("GPU {} of the node has no NIC", gpu));
  }
  return serves;
}

Nic decode_nic(Reader& reader, int gpus_per_node) {
  Nic nic;
  nic.per_node = reader.required_int("per_node", {0, 1024});
  nic.bandwidth = reader.required_quantity<BytesPerSecond>(
      "bandwidth", nic.per_node > 0 ? Zero::kForbidden : Zero::kAllowed);
  nic.serves = decode_serves(reader, nic, gpus_per_node);
  reader.finish();
  return nic;
}

void decode_edges(Reader& reader, Fabric& fabric) {
  if (const Node* names = reader.required_array("switches")) {
    for (const Node& name : names->children) fabric.switches.push_back(name.text);
  }
  for (Reader& entry : reader.tables("cables")) {
    Cable cable;
    cable.from = entry.required_string("from");
    cable.to = entry.required_string("to");
    // Zero here means the NIC's, which is not known yet.
    cable.bandwidth =
        entry.optional_quantity<BytesPerSecond>("bandwidth", BytesPerSecond{}, Zero::kForbidden);
    cable.count = entry.optional_int("count", 1, {1, 65536});
    entry.finish();
    fabric.cables.push_back(std::move(cable));
  }
}

Fabric decode_fabric(Reader& reader) {
  Fabric fabric;
  fabric.kind = reader.required_enum<FabricKind>("kind", kFabricWords);
  if (fabric.kind == FabricKind::kHost) {  // has no switches and no links
    reader.finish();
    return fabric;
  }
  if (fabric.kind == FabricKind::kCustom) {
    decode_edges(reader, fabric);
    fabric.switch_radix = reader.optional_int("switch_radix", 0, {0, 65536});
  } else {
    fabric.planes = reader.optional_int("planes", 1, {1, 1024});
    fabric.switch_layers = reader.optional_int("switch_layers", 1, {1, 3});
    fabric.switch_radix = reader.required_int("switch_radix", {0, 65536});
    fabric.oversubscription = reader.optional_double("oversubscription", 1, 1, 1000);
  }
  fabric.same_leaf_latency = reader.required_quantity<Seconds>("same_leaf_latency", Zero::kAllowed);
  fabric.cross_leaf_latency = reader.optional_quantity<Seconds>(
      "cross_leaf_latency", fabric.same_leaf_latency, Zero::kAllowed);
  fabric.routing = reader.optional_enum<Routing>("routing", Routing::kAdaptive, kRoutingWords);
  fabric.switch_usd = reader.optional_double("switch_usd", 0, 0, 1e9);
  fabric.cable_usd = reader.optional_double("cable_usd", 0, 0, 1e9);
  reader.finish();
  return fabric;
}

void check_fabric(const Cluster& cluster, Reader& reader) {
  const Fabric& fabric = cluster.fabric;
  const int nics = cluster.nic.per_node;
  if (nics > 0 && cluster.nic.serves.empty() && cluster.gpus_per_node % nics != 0 &&
      nics % cluster.gpus_per_node != 0) {
    reader.error("nic",
                 fmt::format("{} NICs cannot be shared out evenly among the {} GPUs of a node",
                             nics, cluster.gpus_per_node),
                 "or say which GPUs each serves: serves = [[0, 1], [2, 3]] in [nic]");
  }
  if (cluster.nodes == 1) return;
  if (nics == 0) {
    return reader.error("nic", fmt::format("{} nodes, but no NIC to connect them", cluster.nodes),
                        "set per_node in [nic]");
  }
  if (fabric.kind != FabricKind::kMultiPlaneFatTree && fabric.planes != 1) {
    return reader.error(
        "fabric",
        fmt::format("a {} has one plane, found {}", to_string(fabric.kind), fabric.planes),
        "did you mean kind = \"multi-plane-fat-tree\"?");
  }
  if (fabric.kind == FabricKind::kSingleSwitch && fabric.switch_layers != 1) {
    return reader.error(
        "fabric", fmt::format("a single-switch has one layer, found {}", fabric.switch_layers));
  }
  if (nics % fabric.planes != 0) {
    return reader.error("fabric", fmt::format("{} planes do not divide the {} NICs of a node",
                                              fabric.planes, nics));
  }
  if (fabric.kind == FabricKind::kCustom) return;  // checked cable by cable
  if (nics > cluster.gpus_per_node &&
      (fabric.planes > 1 || fabric.oversubscription > 1 || fabric.routing != Routing::kAdaptive)) {
    return reader.error("fabric",
                        fmt::format("{} NICs for {} GPUs: several NICs a GPU work as one, which "
                                    "needs one plane with full bisection and adaptive routing",
                                    nics, cluster.gpus_per_node));
  }
  if (fabric.switch_layers > 1 && fabric.switch_radix > 0) {
    const int together =
        fabric.kind == FabricKind::kMultiRailFatTree ? 1 : std::max(1, nics / fabric.planes);
    if (cluster.leaf_down_ports() < together || cluster.leaf_up_ports() < 1) {
      return reader.error(
          "fabric",
          fmt::format("a leaf of {} ports with oversubscription {:g} has {} down and {} up: it "
                      "needs {} down for the NICs of one node, and one up",
                      fabric.switch_radix, fabric.oversubscription, cluster.leaf_down_ports(),
                      cluster.leaf_up_ports(), together));
    }
  }
  // A radix of 0 leaves the size of the switches open.
  const std::int64_t endpoints = static_cast<std::int64_t>(cluster.nodes) * (nics / fabric.planes);
  if (fabric.switch_radix > 0 && endpoints > endpoints_per_plane(fabric)) {
    reader.error(
        "fabric",
        fmt::format(
            "{} nodes x {} NICs a plane = {} ports, but {} layer{} of {}-port switches connect {}",
            cluster.nodes, nics / fabric.planes, endpoints, fabric.switch_layers,
            fabric.switch_layers == 1 ? "" : "s", fabric.switch_radix,
            endpoints_per_plane(fabric)));
  }
}

Reliability decode_reliability(Reader& reader) {
  Reliability reliability;
  reliability.gpu_mtbf = reader.required_quantity<Seconds>("gpu_mtbf", Zero::kForbidden);
  reliability.node_mtbf = reader.required_quantity<Seconds>("node_mtbf", Zero::kForbidden);
  reliability.restart = reader.required_quantity<Seconds>("restart", Zero::kAllowed);
  reliability.checkpoint =
      reader.required_quantity<BytesPerSecond>("checkpoint_bandwidth", Zero::kForbidden);
  reliability.basis = reader.required_string("basis");
  reader.finish();
  return reliability;
}

}  // namespace

std::int64_t endpoints_per_plane(const Fabric& fabric) {
  const auto radix = static_cast<std::int64_t>(fabric.switch_radix);
  if (fabric.switch_layers <= 1) return radix;
  // Of a leaf's ports the share o / (1 + o) faces down. A spine reaches `radix` leaves; a third
  // layer makes radix / 2 of such groups.
  const double share = fabric.oversubscription / (1 + fabric.oversubscription);
  const auto down = static_cast<std::int64_t>(std::floor(static_cast<double>(radix) * share));
  return fabric.switch_layers == 2 ? radix * down : radix * (radix / 2) * down;
}

Cluster decode_cluster(Reader& reader) {
  Diagnostics& diagnostics = reader.context().diagnostics;
  const int before = diagnostics.errors();
  Cluster cluster;
  cluster.name = reader.required_string("name");
  cluster.device = reader.required_string("device");
  cluster.nodes = reader.required_int("nodes", {1, 1000000});
  cluster.gpus_per_node = reader.required_int("gpus_per_node", {1, 1024});
  if (auto host = reader.optional_table("host")) {
    HostLink link;
    link.pcie = host->required_quantity<BytesPerSecond>("pcie", Zero::kForbidden);
    link.memory = host->required_quantity<BytesPerSecond>("memory_bandwidth", Zero::kForbidden);
    host->finish();
    cluster.host = link;
  }
  if (auto table = reader.optional_table("reliability"))
    cluster.reliability = decode_reliability(*table);
  cluster.price_per_gpu_hour =
      reader.required_quantity<Dollars>("price_per_gpu_hour", Zero::kAllowed);
  const bool alone = cluster.nodes == 1;
  if (auto fabric = alone ? reader.optional_table("fabric") : reader.required_table("fabric")) {
    cluster.fabric = decode_fabric(*fabric);
  }
  if (cluster.fabric.kind == FabricKind::kHost) {
    if (cluster.nodes != 1) reader.error("nodes", "a host is one node", "set nodes = 1");
    reader.finish();
    return cluster;
  }
  if (auto pcie = reader.optional_table("pcie")) {
    cluster.nvlink = decode_node_link(*pcie, true);
    if (reader.has("nvlink")) {
      reader.error("pcie", "both [nvlink] and [pcie] are given",
                   "[pcie] is for nodes whose GPUs only PCIe joins");
      reader.optional_table("nvlink");
    }
  } else if (auto nvlink = reader.required_table("nvlink")) {
    cluster.nvlink = decode_node_link(*nvlink, false);
  }
  if (auto nic = alone ? reader.optional_table("nic") : reader.required_table("nic"))
    cluster.nic = decode_nic(*nic, cluster.gpus_per_node);
  reader.finish();
  if (diagnostics.errors() == before) check_fabric(cluster, reader);
  if (diagnostics.errors() == before && cluster.fabric.kind == FabricKind::kCustom)
    check_custom_fabric(cluster, *reader.node("fabric"), reader.context());
  return cluster;
}

Cluster read_cluster(const std::string& path) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, name_from_path(path), diagnostics};
  Reader reader(document.root, context);
  reader.format_version(1, 0);
  Cluster cluster = decode_cluster(reader);
  diagnostics.throw_if_errors();
  cluster.assumed = std::move(context.assumed);
  return cluster;
}

}  // namespace orrery
