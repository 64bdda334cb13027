#include "sim/network/folding.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "core/error.hpp"
#include "sim/network/refinement.hpp"

namespace orrery {
namespace {

class Folder {
 public:
  Folder(const Plan& plan, const Program& program, const Faults& faults, Grouping grouping)
      : program_(program),
        network_(plan.cluster, faults),
        groups_(communication_groups(program, plan.layout)),
        system_(flow_system(groups_, network_)),
        pp_(plan.layout.pp),
        merges_(grouping == Grouping::kFolded && nvlink_is_private()) {
    const int gpus = plan.layout.gpus();
    std::vector<Colour> initial(static_cast<std::size_t>(gpus));
    for (int gpu = 0; gpu < gpus; ++gpu) {
      const auto rank = static_cast<Colour>(gpu / groups_.gpus_per_rank);
      const auto speed = static_cast<Colour>(std::llround(network_.speed_of(gpu) * 1e12));
      initial[static_cast<std::size_t>(gpu)] =
          mixed(mixed(rank, speed), grouping == Grouping::kNone ? static_cast<Colour>(gpu) : 0);
    }
    colours_ = refine(system_, network_, std::move(initial));
  }

  FoldedStep run() {
    make_classes();
    check_size();
    count_resources();
    for (std::size_t family = 0; family < groups_.families.size(); ++family) add_family(family);
    divide_capacities();
    expand_program();
    return std::move(out_);
  }

 private:
  Colour colour(int gpu) const { return colours_.gpu[static_cast<std::size_t>(gpu)]; }
  int class_of(int gpu) const { return out_.class_of[static_cast<std::size_t>(gpu)]; }
  int size_of(int rank_class) const {
    return out_.classes[static_cast<std::size_t>(rank_class)].size;
  }

  void make_classes() {
    std::unordered_map<Colour, int> known;
    const auto gpus = colours_.gpu.size();
    out_.class_of.resize(gpus);
    for (std::size_t gpu = 0; gpu < gpus; ++gpu) {
      const int rank = static_cast<int>(gpu) / groups_.gpus_per_rank;
      const auto [entry, fresh] =
          known.try_emplace(colours_.gpu[gpu], static_cast<int>(out_.classes.size()));
      if (fresh) {
        while (static_cast<int>(out_.first_class.size()) <= rank)
          out_.first_class.push_back(static_cast<int>(out_.classes.size()));
        out_.classes.push_back(
            {Rank(rank), static_cast<int>(gpu), 0, network_.speed_of(static_cast<int>(gpu))});
      }
      out_.class_of[gpu] = entry->second;
      ++out_.classes[static_cast<std::size_t>(entry->second)].size;
    }
    out_.first_class.push_back(static_cast<int>(out_.classes.size()));
    ORRERY_CHECK(static_cast<int>(out_.first_class.size()) == pp_ + 1, "{} pipeline ranks",
                 out_.first_class.size() - 1);
  }

  // Every class of a pipeline rank has its instructions.
  void check_size() const {
    std::vector<std::size_t> instructions(static_cast<std::size_t>(pp_), 0);
    for (const Instruction& instruction : program_.instructions)
      ++instructions[instruction.rank.index()];
    std::size_t all = 0;
    for (const RankClass& each : out_.classes) all += instructions[each.pipeline_rank.index()];
    constexpr std::size_t kMost = 6'000'000;
    if (all <= kMost) return;
    throw TooManyInstructions(fmt::format(
        "error: {} classes of GPUs with {} instructions in all are more than is simulated ({})\n"
        "  = fewer micro-batches (a smaller --global-batch) make it smaller; so does --fidelity "
        "folded where GPUs are alike, which paths by a hash (ECMP) and broken parts prevent",
        out_.classes.size(), all, kMost));
  }

  // How many resources share each colour: ports are as many as their GPUs.
  void count_resources() {
    const std::vector<Resource>& resources = network_.resources();
    const bool shared = !colours_.nic.empty();
    for (std::size_t number = 0; number < resources.size(); ++number) {
      const ResourceKind kind = resources[number].kind;
      const bool nic = kind == ResourceKind::kNicOut || kind == ResourceKind::kNicIn;
      if (kind == ResourceKind::kFabric || (nic && shared))
        ++resource_count_[colours_.resource(network_, static_cast<int>(number))];
    }
  }

  // Whether NVLink carries nothing but exchanges and collectives inside of nodes. Those of a GPU
  // follow each other on one stream, so that nothing else shares its port meanwhile; all messages
  // of an exchange then move at one rate, whatever the classes of their ends.
  bool nvlink_is_private() const {
    for (const FlowSet& set : system_.sets) {
      if (set.shape == Shape::kPair && set.medium == Medium::kNvlink) return false;
    }
    const std::vector<Resource>& resources = network_.resources();
    for (int number : system_.resources) {
      const ResourceKind kind = resources[static_cast<std::size_t>(number)].kind;
      if (kind == ResourceKind::kNodeOut || kind == ResourceKind::kNodeIn) return false;
    }
    return std::all_of(resources.begin(), resources.end(), [&](const Resource& each) {
      const bool port = each.kind == ResourceKind::kNodeOut || each.kind == ResourceKind::kNodeIn;
      return !port || each.capacity == resources.front().capacity;
    });
  }

  // The planned resource that stands for `number`.
  int planned(int number) {
    const auto [direct, unseen] = planned_.try_emplace(number, -1);
    if (!unseen) return direct->second;
    const Resource& resource = network_.resources()[static_cast<std::size_t>(number)];
    const Colour own = colours_.resource(network_, number);
    const auto [entry, fresh] =
        by_colour_.try_emplace(own, static_cast<int>(out_.flows.resources.size()));
    direct->second = entry->second;
    if (!fresh) return entry->second;
    double count = 0;
    if (const auto counted = resource_count_.find(own); counted != resource_count_.end()) {
      count = counted->second;
    } else if (resource.kind == ResourceKind::kNodeOut || resource.kind == ResourceKind::kNodeIn) {
      count = size_of(class_of(resource.owner));
    } else {
      const Cluster& cluster = network_.cluster();
      const int local = resource.owner % cluster.nic.per_node;
      const int gpu = resource.owner / cluster.nic.per_node * cluster.gpus_per_node +
                      local * cluster.gpus_per_node / cluster.nic.per_node;
      count = size_of(class_of(gpu));
    }
    out_.flows.resources.push_back({resource.capacity, 1, count, network_.name(number)});
    return entry->second;
  }

  // One flow that crosses `crossed` (resources of the network) for all `count` of its class.
  void add_flow(int exchange, bool nic, double share, double count, std::span<const int> crossed,
                int from = -1, int to = -1) {
    PlannedFlow flow;
    flow.nic = nic;
    flow.share = share;
    flow.count = count;
    if (count == 1) {
      flow.from = from;
      flow.to = to;
    }
    if (from >= 0) {
      flow.from_class = class_of(from);
      flow.to_class = class_of(to);
    }
    std::vector<std::pair<int, int>> times;  // planned resource, crossings of one flow
    for (int number : crossed) {
      const int resource = planned(number);
      const auto found = std::find_if(times.begin(), times.end(),
                                      [&](const auto& each) { return each.first == resource; });
      if (found == times.end()) {
        times.emplace_back(resource, 1);
      } else {
        ++found->second;
      }
    }
    for (const auto& [resource, crossings] : times) {
      const double each =
          count * crossings / out_.flows.resources[static_cast<std::size_t>(resource)].count;
      ORRERY_CHECK(each >= 1 && std::abs(each - std::round(each)) < 1e-6,
                   "{} flows with {} crossings over {} of '{}'", count, crossings,
                   out_.flows.resources[static_cast<std::size_t>(resource)].count,
                   out_.flows.resources[static_cast<std::size_t>(resource)].name);
      flow.route.push_back({resource, static_cast<int>(std::lround(each))});
    }
    out_.flows.exchanges[static_cast<std::size_t>(exchange)].push_back(
        static_cast<int>(out_.flows.flows.size()));
    out_.flows.flows.push_back(std::move(flow));
  }

  // The flows of the first group of each colour stand for those of all.
  void add_family(std::size_t number) {
    const GroupFamily& family = groups_.families[number];
    std::vector<int>& exchange_of = exchange_of_class_.emplace_back(out_.classes.size(), -1);
    std::unordered_map<Colour, int> known;
    std::vector<int> exchange_of_group(static_cast<std::size_t>(family.groups()), -1);
    for (int group = 0; group < family.groups(); ++group) {
      Colour sum = 0;
      for (int gpu : family.group(group)) sum += mixed(2, colour(gpu));
      const auto [entry, fresh] =
          known.try_emplace(sum, static_cast<int>(out_.flows.exchanges.size()));
      if (!fresh) continue;
      out_.flows.exchanges.emplace_back();
      exchange_of_group[static_cast<std::size_t>(group)] = entry->second;
      // A transfer belongs to its sender.
      const auto gpus = family.group(group);
      const std::size_t members = family.kind == GroupKind::kPair ? 1 : gpus.size();
      for (std::size_t member = 0; member < members; ++member)
        exchange_of[static_cast<std::size_t>(class_of(gpus[member]))] = entry->second;
    }
    std::unordered_map<Colour, double> flow_count;
    std::unordered_map<Colour, double> set_count;
    const auto first = system_.first_of_family[number];
    const auto last = system_.first_of_family[number + 1];
    for (auto at = first; at < last; ++at) {
      const FlowSet& set = system_.sets[at];
      if (set.plain) {
        if (set.shape != Shape::kClique) ++set_count[colours_.set[at]];
        continue;
      }
      for (auto flow = set.first_flow; flow < set.last_flow; ++flow)
        ++flow_count[colours_.flow[flow]];
    }
    std::unordered_map<Colour, char> done;
    std::vector<char> merged(static_cast<std::size_t>(family.groups()), 0);
    for (auto at = first; at < last; ++at) {
      const FlowSet& set = system_.sets[at];
      const int exchange = exchange_of_group[static_cast<std::size_t>(set.group)];
      if (exchange < 0) continue;
      if (merges_ && set.medium == Medium::kNvlink) {
        // Every port carries the same bytes at the same rate, whatever the size of its set.
        char& done_once = merged[static_cast<std::size_t>(set.group)];
        if (done_once) continue;
        done_once = 1;
        add_private(exchange, set);
        continue;
      }
      if (!set.plain) {
        for (auto flow = set.first_flow; flow < set.last_flow; ++flow) {
          if (!done.try_emplace(colours_.flow[flow], 1).second) continue;
          const ExplicitFlow& own = system_.flows[flow];
          add_flow(exchange, set.medium == Medium::kNic, own.share, flow_count[colours_.flow[flow]],
                   system_.resources_of(own), own.from, own.to);
        }
      } else if (done.try_emplace(colours_.set[at], 1).second) {
        add_plain(exchange, set, set_count[colours_.set[at]]);
      }
    }
  }

  Route ports(Medium medium, int from, int to) const {
    if (medium == Medium::kNvlink) return network_.node_route(from, to);
    const int nics = 2 * network_.cluster().gpus();
    return {nics + 2 * network_.nic_of(from), nics + 2 * network_.nic_of(to) + 1};
  }

  // Its flow stands for all of the set, at the ports of the first member.
  void add_private(int exchange, const FlowSet& set) {
    const auto members = system_.members_of(set);
    const int messages = set.shape == Shape::kClique ? static_cast<int>(members.size()) - 1 : 1;
    PlannedFlow flow;
    flow.share = 1.0 / messages;
    flow.count = static_cast<double>(members.size()) * messages;
    for (int port : network_.node_route(members[0], members[0]))
      flow.route.push_back({planned(port), messages});
    out_.flows.exchanges[static_cast<std::size_t>(exchange)].push_back(
        static_cast<int>(out_.flows.flows.size()));
    out_.flows.flows.push_back(std::move(flow));
  }

  void add_plain(int exchange, const FlowSet& set, double sets) {
    const auto members = system_.members_of(set);
    const bool nic = set.medium == Medium::kNic;
    if (set.shape == Shape::kPair) {
      return add_flow(exchange, nic, 1, sets, ports(set.medium, members[0], members[1]));
    }
    if (set.shape == Shape::kRing) {
      Route route;
      for (int member : members) {
        for (int resource : ports(set.medium, member, member)) route.push_back(resource);
      }
      return add_flow(exchange, nic, 1, sets, route);
    }
    // Members by class: the first of each, and how many there are.
    std::vector<std::pair<int, int>> classes;
    for (int member : members) {
      const auto found = std::find_if(classes.begin(), classes.end(), [&](const auto& each) {
        return class_of(each.first) == class_of(member);
      });
      if (found == classes.end()) {
        classes.emplace_back(member, 1);
      } else {
        ++found->second;
      }
    }
    const double share = 1.0 / (static_cast<double>(members.size()) - 1);
    for (const auto& [from, own] : classes) {
      for (const auto& [to, theirs] : classes) {
        const int messages = from == to ? own - 1 : theirs;
        if (messages == 0) continue;
        // A class of several, to itself: the ports of any two of them.
        add_flow(exchange, nic, share, static_cast<double>(size_of(class_of(from))) * messages,
                 ports(set.medium, from, to), from, to);
      }
    }
  }

  // Fewer entries in a route mean the same: 7 and 14 crossings of a link are 1 and 2 of one with a
  // seventh of its capacity.
  void divide_capacities() {
    std::vector<int> common(out_.flows.resources.size(), 0);
    for (const PlannedFlow& flow : out_.flows.flows) {
      for (const Crossing& crossing : flow.route) {
        int& own = common[static_cast<std::size_t>(crossing.resource)];
        own = std::gcd(own, crossing.times);
      }
    }
    for (PlannedFlow& flow : out_.flows.flows) {
      for (Crossing& crossing : flow.route)
        crossing.times /= common[static_cast<std::size_t>(crossing.resource)];
    }
    for (std::size_t number = 0; number < common.size(); ++number) {
      PlannedResource& resource = out_.flows.resources[number];
      resource.scale = common[number];
      resource.capacity = resource.capacity / common[number];
    }
  }

  void expand_program() {
    Copies copies;
    copies.first = out_.first_class;
    const auto exchange = [&](InstructionId origin, int copy) {
      const std::int32_t family = groups_.family_of[origin.index()];
      return family < 0 ? -1
                        : exchange_of_class_[static_cast<std::size_t>(family)]
                                            [static_cast<std::size_t>(copy)];
    };
    copies.group = [&](const Instruction& origin, int copy) { return exchange(origin.id, copy); };
    copies.peer = [&](int copy, Rank to) {
      const RankClass& own = out_.classes[static_cast<std::size_t>(copy)];
      return class_of(own.representative +
                      (to.value - own.pipeline_rank.value) * groups_.gpus_per_rank);
    };
    out_.expanded = expand(program_, copies);
    out_.exchange_of.reserve(out_.expanded.program.instructions.size());
    for (const Instruction& instruction : out_.expanded.program.instructions) {
      out_.exchange_of.push_back(
          exchange(out_.expanded.origin[instruction.id.index()], instruction.rank.value));
    }
  }

  const Program& program_;
  Network network_;
  CommunicationGroups groups_;
  FlowSystem system_;
  int pp_;
  bool merges_;  // messages over NVLink to one
  Colouring colours_;
  FoldedStep out_;
  std::vector<std::vector<int>> exchange_of_class_;    // by family, by class
  std::unordered_map<Colour, double> resource_count_;  // fabric resources and shared NICs
  std::unordered_map<int, int> planned_;               // by resource of the network
  std::unordered_map<Colour, int> by_colour_;
};

}  // namespace

FoldedStep fold(const Plan& plan, const Program& program, const Faults& faults, Grouping grouping) {
  return Folder(plan, program, faults, grouping).run();
}

}  // namespace orrery
