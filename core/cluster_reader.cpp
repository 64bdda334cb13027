#include "core/cluster_reader.hpp"

#include <fmt/format.h>

#include <cmath>

#include "core/model_reader.hpp"

namespace orrery {
namespace {

constexpr std::pair<std::string_view, FabricKind> kFabricWords[] = {
    {"multi-plane-fat-tree", FabricKind::kMultiPlaneFatTree},
    {"multi-rail-fat-tree", FabricKind::kMultiRailFatTree},
    {"fat-tree", FabricKind::kFatTree},
    {"single-switch", FabricKind::kSingleSwitch},
    {"host", FabricKind::kHost},
};

NvlinkDomain decode_nvlink(Reader& reader) {
  NvlinkDomain nvlink;
  nvlink.bandwidth = reader.required_quantity<BytesPerSecond>("bandwidth", Zero::kForbidden);
  nvlink.latency = reader.required_quantity<Seconds>("latency", Zero::kAllowed);
  reader.finish();
  return nvlink;
}

Nic decode_nic(Reader& reader) {
  Nic nic;
  nic.per_node = reader.required_int("per_node", {0, 1024});
  nic.bandwidth = reader.required_quantity<BytesPerSecond>(
      "bandwidth", nic.per_node > 0 ? Zero::kForbidden : Zero::kAllowed);
  reader.finish();
  return nic;
}

Fabric decode_fabric(Reader& reader) {
  Fabric fabric;
  fabric.kind = reader.required_enum<FabricKind>("kind", kFabricWords);
  if (fabric.kind == FabricKind::kHost) {  // has no switches and no links
    reader.finish();
    return fabric;
  }
  fabric.planes = reader.optional_int("planes", 1, {1, 1024});
  fabric.switch_layers = reader.optional_int("switch_layers", 1, {1, 3});
  fabric.switch_radix = reader.required_int("switch_radix", {0, 65536});
  fabric.oversubscription = reader.optional_double("oversubscription", 1, 1, 1000);
  fabric.same_leaf_latency = reader.required_quantity<Seconds>("same_leaf_latency", Zero::kAllowed);
  fabric.cross_leaf_latency = reader.optional_quantity<Seconds>(
      "cross_leaf_latency", fabric.same_leaf_latency, Zero::kAllowed);
  reader.finish();
  return fabric;
}

void check_fabric(const Cluster& cluster, Reader& reader) {
  const Fabric& fabric = cluster.fabric;
  const int nics = cluster.nic.per_node;
  if (nics > 0 && cluster.gpus_per_node % nics != 0 && nics % cluster.gpus_per_node != 0) {
    reader.error(
        "nic", fmt::format("{} NICs cannot be shared out evenly among the {} GPUs of a node", nics,
                           cluster.gpus_per_node));
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
  if (auto nvlink = reader.required_table("nvlink")) cluster.nvlink = decode_nvlink(*nvlink);
  if (auto nic = alone ? reader.optional_table("nic") : reader.required_table("nic"))
    cluster.nic = decode_nic(*nic);
  reader.finish();
  if (diagnostics.errors() == before) check_fabric(cluster, reader);
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
