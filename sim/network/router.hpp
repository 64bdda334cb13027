#pragma once
// Shortest paths through a fabric, NIC to NIC: breadth-first search over its switches
// (Boost.Graph), from each destination switch once, when it is first asked for.
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "sim/network/fabric_graph.hpp"

namespace orrery {

// A trunk crossed in one direction by one of its cables; where traffic is spread, `cable` is -1.
struct Hop {
  int trunk = 0;
  bool up = true;  // from Trunk::from to Trunk::to
  int cable = -1;
  bool operator==(const Hop&) const = default;
};

class Router {
 public:
  // Trunks in `dead` cannot be used.
  Router(const FabricGraph& graph, Routing routing, const std::vector<char>& dead = {});
  ~Router();

  // The trunks between the switches that the two NICs hang on, in order; empty where they share
  // one. Nothing where no path joins them. Among equal paths: adaptive gives the first of a
  // tree (the layer above is one to it) and goes by the destination elsewhere, static goes by the
  // destination's number, ECMP by a hash of both.
  std::optional<std::vector<Hop>> path(int from_nic, int to_nic) const;
  // The switch a NIC hangs on; -1: none.
  int switch_of(int nic) const;
  // The same for NICs that a path joins; -1 where it hangs on no switch.
  int component_of(int nic) const;

 private:
  struct Search;
  std::unique_ptr<Search> search_;
};

}  // namespace orrery
