#include "sim/network/network.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/error.hpp"
#include "core/suggest.hpp"

namespace orrery {

Network::Network(const Cluster& cluster, const Faults& faults)
    : cluster_(cluster),
      faults_(faults),
      graph_(cluster.nodes > 1 ? build_fabric(cluster) : FabricGraph{}),
      local_nic_(cluster.nic_of_gpu()) {
  const int nics = cluster.nic.per_node;
  local_gpu_.assign(static_cast<std::size_t>(std::max(nics, 1)), 0);
  serves_.assign(local_gpu_.size(), 0);
  for (int gpu = cluster.gpus_per_node - 1; gpu >= 0; --gpu)
    local_gpu_[static_cast<std::size_t>(local_nic_[static_cast<std::size_t>(gpu)])] = gpu;
  for (int nic : local_nic_) serves_[static_cast<std::size_t>(nic)] = 1;
  resources_.reserve(2 * static_cast<std::size_t>(cluster.gpus() + cluster.nodes * nics));
  for (int gpu = 0; gpu < cluster.gpus(); ++gpu) {
    BytesPerSecond port = cluster.nvlink.bandwidth;
    const auto fault = faults.nvlink.find(node_of(gpu));
    if (fault != faults.nvlink.end()) port = std::min(port, fault->second);
    resources_.push_back({ResourceKind::kNodeOut, gpu, port});
    resources_.push_back({ResourceKind::kNodeIn, gpu, port});
  }
  // A GPU with several NICs uses them as one.
  const int together = std::max(1, nics / cluster.gpus_per_node);
  std::vector<BytesPerSecond> lines(
      static_cast<std::size_t>(cluster.nodes) * static_cast<std::size_t>(nics),
      cluster.nic.bandwidth);
  for (const Trunk& trunk : graph_.trunks) {
    if (!trunk.from_nic) continue;
    BytesPerSecond& line = lines[static_cast<std::size_t>(trunk.from)];
    line = std::min(line, trunk.bandwidth * trunk.cables);
  }
  for (const auto& [nic, left] : faults.nic) lines[static_cast<std::size_t>(nic)] *= left;
  for (int nic = 0; nic < cluster.nodes * nics; ++nic) {
    BytesPerSecond line;
    for (int part = nic; part < std::min(nic + together, cluster.nodes * nics); ++part)
      line += lines[static_cast<std::size_t>(part)];
    resources_.push_back({ResourceKind::kNicOut, nic, line});
    resources_.push_back({ResourceKind::kNicIn, nic, line});
  }
  check_switch_names();
  find_bundles();
  std::vector<char> dead(graph_.trunks.size(), 0);
  for (std::size_t number = 0; number < graph_.trunks.size(); ++number) {
    const FabricSwitch& upper = graph_.switches[static_cast<std::size_t>(graph_.trunks[number].to)];
    dead[number] = faults.planes.contains(upper.plane);
  }
  router_.emplace(graph_, cluster.fabric.routing, dead);
}

void Network::check_switch_names() const {
  for (const auto& [name, left] : faults_.switch_links) {
    std::vector<std::string> upward;
    for (const Trunk& trunk : graph_.trunks) {
      if (!trunk.from_nic)
        upward.push_back(graph_.switches[static_cast<std::size_t>(trunk.from)].name);
    }
    if (std::find(upward.begin(), upward.end(), name) != upward.end()) continue;
    const std::string hint = did_you_mean(name, upward);
    throw InputError(fmt::format(
        "error: cluster '{}' has no switch '{}' with cables upward\n  = {}", cluster_.name, name,
        !hint.empty()    ? hint
        : upward.empty() ? "its fabric has one layer of switches"
                         : fmt::format("they are named like '{}'", upward.front())));
  }
}

// What each leaf and each pod can send upward, and whether the NICs below it can send more.
void Network::find_bundles() {
  int containers = 0;
  for (const FabricSwitch& each : graph_.switches)
    containers = std::max(containers, each.container + 1);
  up_.assign(static_cast<std::size_t>(containers), {});
  binding_.assign(static_cast<std::size_t>(containers), 0);
  std::vector<BytesPerSecond> below(static_cast<std::size_t>(containers));
  std::vector<std::set<int>> children(static_cast<std::size_t>(containers));
  std::vector<int> layer(static_cast<std::size_t>(containers), 0);
  for (const Trunk& trunk : graph_.trunks) {
    const FabricSwitch& upper = graph_.switches[static_cast<std::size_t>(trunk.to)];
    const auto to = static_cast<std::size_t>(upper.container);
    if (trunk.from_nic) {
      below[to] += trunk.bandwidth * trunk.cables;
      continue;
    }
    const FabricSwitch& lower = graph_.switches[static_cast<std::size_t>(trunk.from)];
    double left = 1;
    if (const auto fault = faults_.switch_links.find(lower.name);
        fault != faults_.switch_links.end())
      left = fault->second;
    up_[static_cast<std::size_t>(lower.container)] += trunk.bandwidth * (trunk.cables * left);
    children[to].insert(lower.container);
    layer[to] = upper.layer;
  }
  for (int at = 1; at <= 2; ++at) {
    for (std::size_t container = 0; container < children.size(); ++container) {
      if (layer[container] != at) continue;
      for (int child : children[container])
        below[container] += below[static_cast<std::size_t>(child)];
    }
  }
  const bool spread = cluster_.fabric.routing == Routing::kAdaptive && graph_.layered();
  for (std::size_t container = 0; container < up_.size(); ++container) {
    constexpr double kRounding = 1e-9;
    binding_[container] =
        up_[container].value() > 0 && up_[container] < below[container] * (1 - kRounding);
    any_binding_ = any_binding_ || binding_[container];
  }
  any_binding_ = spread ? any_binding_ : graph_.switch_cables() > 0;
}

int Network::nic_of(int gpu) const {
  const int local = gpu % cluster_.gpus_per_node;
  return node_of(gpu) * cluster_.nic.per_node + local_nic_[static_cast<std::size_t>(local)];
}

double Network::speed_of(int gpu) const {
  const auto fault = faults_.gpu_speed.find(gpu);
  return fault == faults_.gpu_speed.end() ? 1 : fault->second;
}

bool Network::alive(int nic) const {
  const auto fault = faults_.nic.find(nic);
  return (fault == faults_.nic.end() || fault->second > 0) && router_->switch_of(nic) >= 0 &&
         serves_[static_cast<std::size_t>(nic % cluster_.nic.per_node)];
}

int Network::forwarder(int nic) const {
  return nic / cluster_.nic.per_node * cluster_.gpus_per_node +
         local_gpu_[static_cast<std::size_t>(nic % cluster_.nic.per_node)];
}

std::optional<Network::Exit> Network::try_exit(int nic_from, int nic_to) const {
  if (!alive(nic_from) || !alive(nic_to)) return std::nullopt;
  auto hops = router_->path(nic_from, nic_to);
  if (!hops) return std::nullopt;
  return Exit{nic_from, nic_to, std::move(*hops)};
}

Network::Exit Network::exit_of(int from, int to) const {
  const int own = nic_of(from);
  const int target = nic_of(to);
  if (auto direct = try_exit(own, target)) return *std::move(direct);
  const int per_node = cluster_.nic.per_node;
  const int source_nics = own - own % per_node;
  const int target_nics = target - target % per_node;
  if (own % per_node != target % per_node) {
    if (auto beside = try_exit(source_nics + target % per_node, target)) return *std::move(beside);
  }
  // One NIC index at both ends: the neighbour that shares a PCIe switch, then the others in order.
  for (int step = -1; step < per_node; ++step) {
    const int index = step < 0 ? (own % per_node) ^ 1 : (own + step) % per_node;
    if (index >= per_node) continue;
    if (auto around = try_exit(source_nics + index, target_nics + index)) return *std::move(around);
  }
  for (int leave = 0; leave < per_node; ++leave) {
    for (int enter = 0; enter < per_node; ++enter) {
      if (auto any = try_exit(source_nics + leave, target_nics + enter)) return *std::move(any);
    }
  }
  throw InputError(
      fmt::format("error: no path is left from GPU {} of node {} to GPU {} of node {} on cluster "
                  "'{}'",
                  from % cluster_.gpus_per_node, node_of(from), to % cluster_.gpus_per_node,
                  node_of(to), cluster_.name));
}

Route Network::node_route(int from, int to) const {
  return {2 * from, 2 * to + 1};
}

Route Network::nic_route(int from, int to) {
  const Exit exit = exit_of(from, to);
  const int nics = 2 * cluster_.gpus();
  Route route;
  const auto inside = [&](int source, int sink) {
    if (source == sink) return;
    route.push_back(2 * source);
    route.push_back(2 * sink + 1);
  };
  const int first = exit.nic_from == nic_of(from) ? from : forwarder(exit.nic_from);
  const int last = exit.nic_to == nic_of(to) ? to : forwarder(exit.nic_to);
  inside(from, first);
  if (cluster_.nvlink.pcie) route.push_back(2 * first);
  route.push_back(nics + 2 * exit.nic_from);
  for (const Hop& hop : exit.hops) {
    const int resource = fabric_resource(hop);
    if (resource >= 0 && (route.empty() || route.back() != resource)) route.push_back(resource);
  }
  route.push_back(nics + 2 * exit.nic_to + 1);
  if (cluster_.nvlink.pcie) route.push_back(2 * last + 1);
  inside(last, to);
  return route;
}

int Network::fabric_resource(const Hop& hop) {
  const Trunk& trunk = graph_.trunks[static_cast<std::size_t>(hop.trunk)];
  const FabricSwitch& lower = graph_.switches[static_cast<std::size_t>(trunk.from)];
  const bool spread = hop.cable < 0 && graph_.layered();
  if (spread && !binding_[static_cast<std::size_t>(lower.container)]) return -1;
  const auto [entry, fresh] =
      fabric_.try_emplace({spread ? lower.container : hop.trunk, hop.up, hop.cable},
                          static_cast<int>(resources_.size()));
  if (!fresh) return entry->second;
  double left = 1;
  if (const auto fault = faults_.switch_links.find(lower.name); fault != faults_.switch_links.end())
    left = fault->second;
  const BytesPerSecond capacity = spread          ? up_[static_cast<std::size_t>(lower.container)]
                                  : hop.cable < 0 ? trunk.bandwidth * (trunk.cables * left)
                                                  : trunk.bandwidth * left;
  resources_.push_back({ResourceKind::kFabric, static_cast<int>(fabric_names_.size()), capacity});
  const FabricSwitch& upper = graph_.switches[static_cast<std::size_t>(trunk.to)];
  std::string name = spread
                         ? fmt::format("{} {}", lower.name, hop.up ? "up" : "down")
                         : fmt::format("{} {} {}", lower.name, hop.up ? "to" : "from", upper.name);
  if (hop.cable >= 0 && trunk.cables > 1) name += fmt::format(" cable {}", hop.cable);
  fabric_names_.push_back(std::move(name));
  return entry->second;
}

bool Network::plain(std::span<const int> gpus) const {
  if (any_binding_ || cluster_.nvlink.pcie) return false;
  const int component = router_->component_of(nic_of(gpus.front()));
  return std::all_of(gpus.begin(), gpus.end(), [&](int gpu) {
    const int nic = nic_of(gpu);
    return alive(nic) && router_->component_of(nic) == component;
  });
}

std::string Network::name(int resource) const {
  const Resource& each = resources_[static_cast<std::size_t>(resource)];
  const char* medium = cluster_.nvlink.pcie ? "PCIe" : "NVLink";
  const auto port = [&](const char* what, int per_node, const char* link) {
    return fmt::format("node {} {} {}{}", each.owner / per_node, what, each.owner % per_node, link);
  };
  switch (each.kind) {
    case ResourceKind::kNodeOut:
      return port("GPU", cluster_.gpus_per_node, fmt::format(" {} out", medium).c_str());
    case ResourceKind::kNodeIn:
      return port("GPU", cluster_.gpus_per_node, fmt::format(" {} in", medium).c_str());
    case ResourceKind::kNicOut: return port("NIC", cluster_.nic.per_node, " out");
    case ResourceKind::kNicIn: return port("NIC", cluster_.nic.per_node, " in");
    case ResourceKind::kFabric: return fabric_names_[static_cast<std::size_t>(each.owner)];
  }
  return "?";
}

}  // namespace orrery
