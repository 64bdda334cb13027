#pragma once
// What carries bytes in a cluster, and which of it a message crosses. Every resource carries one
// direction: the port of a GPU into its node (NVLink, or PCIe), the NIC, and the cables of the
// fabric, as far as they can hold traffic up.
//
// Cables. With adaptive routing all cables upward from a leaf (from a pod) are one resource, and
// all downward to it, for the traffic is spread over them; with static and ECMP routing, and in a
// custom fabric, each is one. A resource that can never be the narrowest is left out: cables that
// hold as much as the NICs below them (full bisection) bind no flow, whatever runs.
//
// What leaves through another NIC than the sender's own is forwarded inside the node, as NCCL's
// PXN does: to reach a NIC on another plane, and around a broken NIC (through that of the
// neighbour).
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/cluster.hpp"
#include "core/faults.hpp"
#include "sim/network/fabric_graph.hpp"
#include "sim/network/router.hpp"

namespace orrery {

enum class ResourceKind { kNodeOut, kNodeIn, kNicOut, kNicIn, kFabric };

struct Resource {
  ResourceKind kind = ResourceKind::kFabric;
  int owner = 0;  // GPU, NIC, or a number of its own
  BytesPerSecond capacity;
};

using Route = std::vector<int>;  // resources, in order

class Network {
 public:
  explicit Network(const Cluster& cluster, const Faults& faults = {});
  Network(const Network&) = delete;  // the router looks at the graph
  Network& operator=(const Network&) = delete;

  const Cluster& cluster() const { return cluster_; }
  int node_of(int gpu) const { return gpu / cluster_.gpus_per_node; }
  int nic_of(int gpu) const;
  double speed_of(int gpu) const;

  const std::vector<Resource>& resources() const { return resources_; }
  // "node 3 GPU 1 NVLink out", "plane2.leaf4 up": for reports.
  std::string name(int resource) const;

  // Between two GPUs of a node, and over the fabric. May add resources. Throws InputError where no
  // path is left.
  Route node_route(int from, int to) const;
  Route nic_route(int from, int to);
  // Whether routes over the fabric between any two of these GPUs are just the two NICs.
  bool plain(std::span<const int> gpus) const;

 private:
  struct Exit {
    int nic_from, nic_to;
    std::vector<Hop> hops;
  };
  bool alive(int nic) const;
  Exit exit_of(int from, int to) const;
  std::optional<Exit> try_exit(int nic_from, int nic_to) const;
  void check_switch_names() const;
  void find_bundles();
  int fabric_resource(const Hop& hop);
  int forwarder(int nic) const;  // the first GPU that it serves

  Cluster cluster_;
  Faults faults_;
  FabricGraph graph_;
  std::vector<int> local_nic_;  // by GPU of a node
  std::vector<int> local_gpu_;  // by NIC of a node: its first GPU
  std::vector<char> serves_;    // by NIC of a node: whether it is the first NIC of some GPU
  std::vector<Resource> resources_;
  std::vector<BytesPerSecond> up_;  // by container: cables upward
  std::vector<char> binding_;       // by container: those may hold traffic up
  bool any_binding_ = false;
  std::map<std::tuple<int, bool, int>, int> fabric_;  // (container or trunk, up, cable)
  std::vector<std::string> fabric_names_;
  std::optional<Router> router_;
};

}  // namespace orrery
