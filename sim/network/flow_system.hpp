#pragma once
// What the transfers of a step put on the network, by group: sets of GPUs that exchange bytes over
// one medium. Bytes and times are not in here; a set says who sends to whom over which resources.
//
// A group is cut twice: into its parts, the members of one node, and into rails, the members with
// the same place in their parts. NVLink carries what moves within a part, the NICs what moves
// along a rail (node-limited dispatch and NCCL's hierarchical rings alike). Where parts are of
// different sizes the rail is the whole group.
//
//   exchange (clique)  every member sends a message to each of the others
//   ring               all members pass along equal pieces in step: one flow over all of their
//                      ports, as fast as the slowest of them
//   pair               the first member sends to the second
#include <cstdint>
#include <span>
#include <vector>

#include "sim/network/network.hpp"
#include "workload/groups.hpp"

namespace orrery {

enum class Medium : std::uint8_t { kNvlink, kNic };
enum class Shape : std::uint8_t { kClique, kRing, kPair };

struct FlowSet {
  std::int32_t family = 0;
  std::int32_t group = 0;  // of the family
  Medium medium = Medium::kNvlink;
  Shape shape = Shape::kClique;
  bool plain = true;                            // its flows cross the ports of their two ends only
  std::uint32_t first = 0, last = 0;            // range of FlowSystem::members
  std::uint32_t first_flow = 0, last_flow = 0;  // range of FlowSystem::flows; none where plain
};

// A message of a set that is not plain; `from` and `to` are -1 in a ring, whose one flow is all of
// it. `share` of what a sender sends over the medium.
struct ExplicitFlow {
  int from = -1, to = -1;
  double share = 1;
  std::uint32_t first = 0, last = 0;  // range of FlowSystem::resources
};

struct FlowSystem {
  std::vector<FlowSet> sets;  // group after group, family after family
  std::vector<int> members;
  std::vector<ExplicitFlow> flows;
  std::vector<int> resources;  // of the network, repeated where crossed more than once
  std::vector<std::uint32_t> first_of_family;  // into sets; one more at the end

  std::span<const int> members_of(const FlowSet& set) const {
    return std::span(members).subspan(set.first, set.last - set.first);
  }
  std::span<const ExplicitFlow> flows_of(const FlowSet& set) const {
    return std::span(flows).subspan(set.first_flow, set.last_flow - set.first_flow);
  }
  std::span<const int> resources_of(const ExplicitFlow& flow) const {
    return std::span(resources).subspan(flow.first, flow.last - flow.first);
  }
};

FlowSystem flow_system(const CommunicationGroups& groups, Network& network);

}  // namespace orrery
