#pragma once
// The fabric of a cluster as a graph: NICs, switches and the cables between them. Built from the
// structure that a cluster file names, at the size that its nodes need, or from the edge list of a
// custom one. What lies inside a node (GPUs, NVLink) is no part of it.
//
// Fat trees. A leaf's ports are split o : 1 between NICs and spines (o: oversubscription). Two
// layers: every leaf reaches every spine, by several cables where there are few leaves. Three
// layers: `radix / 2` leaves and as many aggregation switches as a leaf has uplinks make a pod;
// core switches join the pods. Multi-plane: one tree per plane, NIC i of every node on plane
// i * planes / NICs. Multi-rail: NICs of one index share leaves, all leaves share spines.
#include <cstdint>
#include <string>
#include <vector>

#include "core/cluster.hpp"

namespace orrery {

struct FabricSwitch {
  int layer = 0;  // 0: leaves
  int plane = 0;
  int container =
      0;  // what its cables upward serve together: the leaf, the pod; unique in a fabric
  std::string name;
  bool operator==(const FabricSwitch&) const = default;
};

// Equal parallel cables. `from` is the lower end: a NIC or the switch of the lower layer.
struct Trunk {
  bool from_nic = false;
  int from = 0;              // NIC or switch
  int to = 0;                // switch
  BytesPerSecond bandwidth;  // of one cable, one direction
  int cables = 1;
};

struct FabricGraph {
  int nics = 0;  // of all nodes: node * per_node + index
  std::vector<FabricSwitch> switches;
  std::vector<Trunk> trunks;

  std::int64_t switch_cables() const;  // cables between switches
  std::int64_t nic_cables() const;
  // Trees have layers; in a custom fabric all switches are on the same.
  bool layered() const { return !switches.empty() && switches.back().layer > 0; }
};

// Of a cluster whose nodes a fabric joins; without nodes to join it is empty. The cluster has been
// checked (core/cluster_reader.hpp).
FabricGraph build_fabric(const Cluster& cluster);

// Counts as published comparisons give them: cables between switches only.
struct FabricSize {
  std::int64_t endpoints = 0, switches = 0, cables = 0;
  // Switches and cables between them, at these prices.
  double cost_usd(double switch_usd, double cable_usd) const;
};

// The largest fabric of these kinds with switches of `radix` ports.
FabricSize two_layer_fat_tree(int radix, int planes = 1);
FabricSize three_layer_fat_tree(int radix);
// Slim Fly (Besta and Hoefler, SC'14) of order q: 2 q^2 switches, each with `endpoints` NICs and
// (3 q - d) / 2 switch ports, q = 4 w + d.
FabricSize slim_fly(int q, int endpoints);
// Dragonfly (Kim et al., ISCA'08): groups of `a` switches, each with p NICs and h cables to other
// groups; every pair of switches of a group is joined.
FabricSize dragonfly(int p, int a, int h, int groups);

}  // namespace orrery
