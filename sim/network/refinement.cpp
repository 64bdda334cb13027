#include "sim/network/refinement.hpp"

#include <algorithm>
#include <bit>

namespace orrery {
namespace {

Colour colour_of(BytesPerSecond capacity) {
  return mixed(1, std::bit_cast<std::uint64_t>(capacity.value()));
}

std::size_t distinct(std::vector<Colour> colours) {
  std::sort(colours.begin(), colours.end());
  return static_cast<std::size_t>(std::unique(colours.begin(), colours.end()) - colours.begin());
}

class Refinement {
 public:
  Refinement(const FlowSystem& system, const Network& network, std::vector<Colour> initial)
      : system_(system), network_(network), sum_(initial.size()) {
    const std::vector<Resource>& resources = network.resources();
    const int gpus = static_cast<int>(initial.size());
    const int nics = network.cluster().nodes * network.cluster().nic.per_node;
    out_.gpu = std::move(initial);
    out_.fabric.assign(resources.size(), 0);
    out_.set.assign(system.sets.size(), 0);
    out_.flow.assign(system.flows.size(), 0);
    touched_.assign(resources.size(), 0);
    resource_sum_.assign(resources.size(), 0);
    for (int resource : system.resources) touched_[static_cast<std::size_t>(resource)] = 1;
    for (std::size_t number = 0; number < resources.size(); ++number)
      out_.fabric[number] = colour_of(resources[number].capacity);
    const Cluster& cluster = network.cluster();
    if (nics > 0 && (cluster.gpus_per_node > cluster.nic.per_node || !cluster.nic.serves.empty()))
      out_.nic.assign(static_cast<std::size_t>(nics), 0);
    for (int gpu = 0; gpu < gpus; ++gpu) {
      Colour& own = out_.gpu[static_cast<std::size_t>(gpu)];
      own = mixed(own, out_.fabric[static_cast<std::size_t>(2 * gpu)]);
      if (nics == 0) continue;
      own = mixed(own, out_.fabric[static_cast<std::size_t>(2 * gpus + 2 * network.nic_of(gpu))]);
    }
  }

  Colouring run() {
    std::size_t before = count();
    for (;;) {
      round();
      ++out_.rounds;
      const std::size_t after = count();
      if (after == before) break;
      before = after;
    }
    // Sets and flows by the colours that hold at the end.
    colour_sets();
    colour_flows();
    if (!out_.nic.empty()) colour_nics();
    return std::move(out_);
  }

 private:
  std::size_t count() const {
    std::vector<Colour> all = out_.gpu;
    for (std::size_t number = 0; number < touched_.size(); ++number) {
      if (touched_[number]) all.push_back(out_.fabric[number]);
    }
    return distinct(std::move(all));
  }

  static Colour salt(const FlowSet& set, Colour role) {
    return mixed(static_cast<Colour>(set.family) * 8 + static_cast<Colour>(set.medium), role);
  }
  Colour gpu(int number) const { return out_.gpu[static_cast<std::size_t>(number)]; }

  void colour_sets() {
    for (std::size_t at = 0; at < system_.sets.size(); ++at) {
      const FlowSet& set = system_.sets[at];
      Colour sum = 0;
      for (int member : system_.members_of(set)) sum += mixed(2, gpu(member));
      out_.set[at] = mixed(salt(set, 3), sum);
    }
  }

  void colour_flows() {
    for (const FlowSet& set : system_.sets) {
      for (std::uint32_t at = set.first_flow; at < set.last_flow; ++at) {
        const ExplicitFlow& flow = system_.flows[at];
        Colour colour = salt(set, 4);
        if (flow.from >= 0) {
          colour = mixed(mixed(colour, gpu(flow.from)), gpu(flow.to));
          for (int resource : system_.resources_of(flow))
            colour = mixed(colour, out_.fabric[static_cast<std::size_t>(resource)]);
        } else {  // a ring: what it crosses counts, not where it begins
          Colour sum = 0;
          for (int member : system_.members_of(set)) sum += mixed(2, gpu(member));
          for (int resource : system_.resources_of(flow))
            sum += mixed(5, out_.fabric[static_cast<std::size_t>(resource)]);
          colour = mixed(colour, sum);
        }
        out_.flow[at] = colour;
      }
    }
  }

  void colour_nics() {
    std::fill(out_.nic.begin(), out_.nic.end(), 0);
    for (std::size_t number = 0; number < out_.gpu.size(); ++number) {
      out_.nic[static_cast<std::size_t>(network_.nic_of(static_cast<int>(number)))] +=
          mixed(6, out_.gpu[number]);
    }
  }

  void round() {
    colour_sets();
    colour_flows();
    std::fill(sum_.begin(), sum_.end(), 0);
    std::fill(resource_sum_.begin(), resource_sum_.end(), 0);
    const auto add = [&](int number, Colour colour) {
      sum_[static_cast<std::size_t>(number)] += colour;
    };
    for (std::size_t at = 0; at < system_.sets.size(); ++at) {
      const FlowSet& set = system_.sets[at];
      const auto members = system_.members_of(set);
      if (set.shape == Shape::kPair) {
        add(members[0], mixed(salt(set, 7), gpu(members[1])));
        add(members[1], mixed(salt(set, 8), gpu(members[0])));
      } else {
        for (int member : members) add(member, mixed(9, out_.set[at]));
      }
      for (std::uint32_t number = set.first_flow; number < set.last_flow; ++number) {
        const ExplicitFlow& flow = system_.flows[number];
        if (flow.from >= 0) {
          add(flow.from, mixed(10, out_.flow[number]));
          add(flow.to, mixed(11, out_.flow[number]));
        } else {
          for (int member : members) add(member, mixed(12, out_.flow[number]));
        }
        for (int resource : system_.resources_of(flow))
          resource_sum_[static_cast<std::size_t>(resource)] += mixed(13, out_.flow[number]);
      }
    }
    if (!out_.nic.empty()) {
      colour_nics();
      for (std::size_t number = 0; number < out_.gpu.size(); ++number) {
        sum_[number] += mixed(
            14, out_.nic[static_cast<std::size_t>(network_.nic_of(static_cast<int>(number)))]);
      }
    }
    update_resources();
    for (std::size_t number = 0; number < out_.gpu.size(); ++number)
      out_.gpu[number] = mixed(out_.gpu[number], sum_[number]);
  }

  // A port takes the colour of its GPU, and a GPU those of its ports, where listed flows cross
  // them.
  void update_resources() {
    const std::vector<Resource>& resources = network_.resources();
    for (std::size_t number = 0; number < resources.size(); ++number) {
      if (!touched_[number]) continue;
      Colour& own = out_.fabric[number];
      own = mixed(own, resource_sum_[number]);
      const Resource& resource = resources[number];
      const bool port =
          resource.kind == ResourceKind::kNodeOut || resource.kind == ResourceKind::kNodeIn;
      const bool nic =
          resource.kind == ResourceKind::kNicOut || resource.kind == ResourceKind::kNicIn;
      const auto kind = static_cast<Colour>(resource.kind);
      if (port) {
        own = mixed(own, gpu(resource.owner));
        sum_[static_cast<std::size_t>(resource.owner)] += mixed(15 + kind, own);
      } else if (nic) {
        const Cluster& cluster = network_.cluster();
        const int first = resource.owner / cluster.nic.per_node * cluster.gpus_per_node;
        Colour users = 0;
        for (int user = first; user < first + cluster.gpus_per_node; ++user) {
          if (network_.nic_of(user) == resource.owner) users += mixed(20, gpu(user));
        }
        own = mixed(own, users);
        for (int user = first; user < first + cluster.gpus_per_node; ++user) {
          if (network_.nic_of(user) == resource.owner)
            sum_[static_cast<std::size_t>(user)] += mixed(15 + kind, own);
        }
      }
    }
  }

  const FlowSystem& system_;
  const Network& network_;
  std::vector<Colour> sum_;
  std::vector<Colour> resource_sum_;
  std::vector<char> touched_;  // by resource: crossed by a listed flow
  Colouring out_;
};

}  // namespace

Colour Colouring::resource(const Network& network, int number) const {
  const Resource& resource = network.resources()[static_cast<std::size_t>(number)];
  const auto kind = static_cast<Colour>(resource.kind);
  switch (resource.kind) {
    case ResourceKind::kNodeOut:
    case ResourceKind::kNodeIn:
      return mixed(30 + kind, gpu[static_cast<std::size_t>(resource.owner)]);
    case ResourceKind::kNicOut:
    case ResourceKind::kNicIn: {
      if (!nic.empty()) return mixed(30 + kind, nic[static_cast<std::size_t>(resource.owner)]);
      break;
    }
    case ResourceKind::kFabric: return mixed(30 + kind, fabric[static_cast<std::size_t>(number)]);
  }
  // A NIC of its own: that of the GPU with its place in the node.
  const Cluster& cluster = network.cluster();
  const int node = resource.owner / cluster.nic.per_node;
  const int local = resource.owner % cluster.nic.per_node;
  const int place = static_cast<int>(static_cast<std::int64_t>(local) * cluster.gpus_per_node /
                                     cluster.nic.per_node);
  const int user = node * cluster.gpus_per_node + place;
  return mixed(30 + kind, gpu[static_cast<std::size_t>(user)]);
}

Colouring refine(const FlowSystem& system, const Network& network, std::vector<Colour> initial) {
  return Refinement(system, network, std::move(initial)).run();
}

}  // namespace orrery
