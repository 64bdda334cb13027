#pragma once
// The edge list of a custom fabric, resolved: which NICs and switches its cables join.
#include <optional>
#include <string_view>
#include <vector>

#include "core/cluster.hpp"
#include "core/document.hpp"
#include "core/reader.hpp"

namespace orrery {

// A switch by its place in Fabric::switches, or a NIC by node * Nic::per_node + index.
struct CableEnd {
  bool is_switch = false;
  int number = 0;
  bool operator==(const CableEnd&) const = default;
};

struct ResolvedCable {
  CableEnd from, to;
  BytesPerSecond bandwidth;  // of one, one direction
  int count = 1;
};

// The ends that a name stands for: one switch, or one NIC of each node of a range. Nothing where
// it names none.
std::optional<std::vector<CableEnd>> resolve_end(const Cluster& cluster, std::string_view name);

// One entry per pair of ends. Throws a bug where a name is unknown: the cluster was not checked.
std::vector<ResolvedCable> resolve_cables(const Cluster& cluster);

// Reports, each at its line: switches named twice, ends that do not exist, cables from a thing to
// itself or between two NICs, NICs with no cable or several, switches with more cables than ports,
// switches without any, NICs that no path joins to the first. `fabric` is the table it was read
// from.
void check_custom_fabric(const Cluster& cluster, const Node& fabric, ReadContext& context);

}  // namespace orrery
