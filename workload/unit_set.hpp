#pragma once
// What one micro-batch makes a GPU do under a layout, entry by entry of a stage map, whatever the
// pipeline and the schedule are: the works that a Program's cells consist of. Two layouts that
// differ in dp, ZeRO stage or schedule alone have the same one.
#include <map>
#include <span>
#include <vector>

#include "core/plan.hpp"
#include "workload/placement.hpp"
#include "workload/routing.hpp"
#include "workload/unit_works.hpp"

namespace orrery {

struct UnitSet {
  std::vector<Work> works;
  std::map<LayerKind, UnitWorks> units;
  // What leaves a stage: one micro-batch's activations or their gradients, in BF16.
  Bytes boundary;
  WorkId send_between_nodes, send_inside_node;
};

// `kinds`: the entries wanted. Collectives of tensor and context parallelism that do not fit into a
// node go over the NICs.
UnitSet make_unit_set(const Model& model, const Cluster& cluster, const Layout& layout,
                      int sequence, const RoutingSpread& spread, std::span<const LayerKind> kinds);

// Where the copies of a token go under the layout, as the routing model of `seed` says.
RoutingSpread routing_spread(const Model& model, const Cluster& cluster, const Layout& layout,
                             std::uint64_t seed);

}  // namespace orrery
