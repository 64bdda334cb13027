#include "sim/network/flow_system.hpp"

#include <algorithm>

namespace orrery {
namespace {

Shape shape_of(GroupKind kind) {
  if (kind == GroupKind::kPair) return Shape::kPair;
  return kind == GroupKind::kExpert ? Shape::kClique : Shape::kRing;
}

class Maker {
 public:
  explicit Maker(Network& network) : network_(network) {}

  FlowSystem run(const CommunicationGroups& groups) {
    for (std::size_t family = 0; family < groups.families.size(); ++family) {
      const GroupFamily& own = groups.families[family];
      out_.first_of_family.push_back(static_cast<std::uint32_t>(out_.sets.size()));
      for (int group = 0; group < own.groups(); ++group)
        add_group(static_cast<std::int32_t>(family), group, own.kind, own.group(group));
    }
    out_.first_of_family.push_back(static_cast<std::uint32_t>(out_.sets.size()));
    return std::move(out_);
  }

 private:
  void add_group(std::int32_t family, std::int32_t group, GroupKind kind,
                 std::span<const int> gpus) {
    if (gpus.size() < 2) return;
    const Shape shape = shape_of(kind);
    if (shape == Shape::kPair) {
      const bool beside = network_.node_of(gpus[0]) == network_.node_of(gpus[1]);
      add_set({family, group, beside ? Medium::kNvlink : Medium::kNic, shape}, gpus);
      return;
    }
    // Where each part begins.
    parts_.clear();
    for (std::size_t at = 0; at < gpus.size(); ++at) {
      if (at == 0 || network_.node_of(gpus[at]) != network_.node_of(gpus[at - 1]))
        parts_.push_back(at);
    }
    parts_.push_back(gpus.size());
    const std::size_t width = parts_[1];
    bool even = true;
    for (std::size_t part = 0; part + 1 < parts_.size(); ++part) {
      const auto own = gpus.subspan(parts_[part], parts_[part + 1] - parts_[part]);
      even = even && own.size() == width;
      if (own.size() > 1) add_set({family, group, Medium::kNvlink, shape}, own);
    }
    if (parts_.size() == 2) return;
    if (!even) {
      add_set({family, group, Medium::kNic, shape}, gpus, true);
      return;
    }
    for (std::size_t place = 0; place < width; ++place) {
      rail_.clear();
      for (std::size_t part = 0; part + 1 < parts_.size(); ++part)
        rail_.push_back(gpus[parts_[part] + place]);
      add_set({family, group, Medium::kNic, shape}, rail_);
    }
  }

  void add_set(FlowSet set, std::span<const int> gpus, bool uneven = false) {
    set.first = static_cast<std::uint32_t>(out_.members.size());
    out_.members.insert(out_.members.end(), gpus.begin(), gpus.end());
    set.last = static_cast<std::uint32_t>(out_.members.size());
    set.first_flow = set.last_flow = static_cast<std::uint32_t>(out_.flows.size());
    set.plain = set.medium == Medium::kNvlink || (!uneven && network_.plain(gpus));
    if (!set.plain) {
      list_flows(set.shape, gpus);
      set.last_flow = static_cast<std::uint32_t>(out_.flows.size());
    }
    out_.sets.push_back(set);
  }

  void list_flows(Shape shape, std::span<const int> gpus) {
    switch (shape) {
      case Shape::kPair: add_flow(gpus[0], gpus[1], 1); break;
      case Shape::kClique:
        for (int from : gpus) {
          const auto apart = std::count_if(gpus.begin(), gpus.end(), [&](int to) {
            return network_.node_of(to) != network_.node_of(from);
          });
          for (int to : gpus) {
            if (network_.node_of(to) != network_.node_of(from))
              add_flow(from, to, 1.0 / static_cast<double>(apart));
          }
        }
        break;
      case Shape::kRing: add_ring(gpus); break;
    }
  }

  void add_flow(int from, int to, double share) {
    ExplicitFlow flow{from, to, share, static_cast<std::uint32_t>(out_.resources.size()), 0};
    for (int resource : network_.nic_route(from, to)) out_.resources.push_back(resource);
    flow.last = static_cast<std::uint32_t>(out_.resources.size());
    out_.flows.push_back(flow);
  }

  // From node to node and back to the first; hops inside a node are NVLink's, counted there.
  void add_ring(std::span<const int> gpus) {
    ExplicitFlow flow{-1, -1, 1, static_cast<std::uint32_t>(out_.resources.size()), 0};
    for (std::size_t at = 0; at < gpus.size(); ++at) {
      const int to = gpus[(at + 1) % gpus.size()];
      if (network_.node_of(gpus[at]) == network_.node_of(to)) continue;
      for (int resource : network_.nic_route(gpus[at], to)) out_.resources.push_back(resource);
    }
    flow.last = static_cast<std::uint32_t>(out_.resources.size());
    out_.flows.push_back(flow);
  }

  Network& network_;
  FlowSystem out_;
  std::vector<std::size_t> parts_;
  std::vector<int> rail_;
};

}  // namespace

FlowSystem flow_system(const CommunicationGroups& groups, Network& network) {
  return Maker(network).run(groups);
}

}  // namespace orrery
