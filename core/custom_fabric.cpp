#include "core/custom_fabric.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>

#include "core/error.hpp"
#include "core/suggest.hpp"

namespace orrery {
namespace {

// Reads a whole number off the front of `text`.
std::optional<int> take_number(std::string_view& text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 0) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  text.remove_prefix(word.size());
  return true;
}

std::string name_of(const Cluster& cluster, CableEnd end) {
  if (end.is_switch) return cluster.fabric.switches[static_cast<std::size_t>(end.number)];
  return fmt::format("node{}.nic{}", end.number / cluster.nic.per_node,
                     end.number % cluster.nic.per_node);
}

// Sets of ends that cables join (union-find).
class Components {
 public:
  explicit Components(std::size_t size) : parent_(size) {
    std::iota(parent_.begin(), parent_.end(), std::size_t{0});
  }
  std::size_t root(std::size_t at) {
    while (parent_[at] != at) at = parent_[at] = parent_[parent_[at]];
    return at;
  }
  void join(std::size_t a, std::size_t b) { parent_[root(a)] = root(b); }

 private:
  std::vector<std::size_t> parent_;
};

class Check {
 public:
  Check(const Cluster& cluster, const Node& fabric, ReadContext& context)
      : cluster_(cluster),
        fabric_(fabric),
        context_(context),
        nics_(static_cast<std::size_t>(cluster.nodes) *
              static_cast<std::size_t>(cluster.nic.per_node)),
        ports_(nics_ + cluster.fabric.switches.size(), 0) {}

  void run() {
    const int before = context_.diagnostics.errors();
    names();
    cables();
    if (context_.diagnostics.errors() == before) ends();
  }

 private:
  void error(const Node& at, std::string message, std::string hint = "") {
    context_.diagnostics.error(at.place(context_.file), std::move(message), std::move(hint));
  }

  std::size_t index(CableEnd end) const {
    return end.is_switch ? nics_ + static_cast<std::size_t>(end.number)
                         : static_cast<std::size_t>(end.number);
  }

  void names() {
    const Node& list = *fabric_.find("switches");
    for (std::size_t at = 0; at < list.children.size(); ++at) {
      const Node& name = list.children[at];
      if (name.kind != NodeKind::kString || name.text.empty()) {
        error(name, "expected the name of a switch");
      } else if (name.text.starts_with("node")) {
        error(name, fmt::format("a switch cannot be named '{}': names that begin with 'node' are "
                                "NICs",
                                name.text));
      } else if (std::find(cluster_.fabric.switches.begin(),
                           cluster_.fabric.switches.begin() + static_cast<std::ptrdiff_t>(at),
                           name.text) !=
                 cluster_.fabric.switches.begin() + static_cast<std::ptrdiff_t>(at)) {
        error(name, fmt::format("two switches are named '{}'", name.text));
      }
    }
  }

  void cables() {
    for (std::size_t at = 0; at < cluster_.fabric.cables.size(); ++at) {
      const Node& node = fabric_.find("cables")->children[at];
      const Cable& cable = cluster_.fabric.cables[at];
      const auto from = end(*node.find("from"), cable.from);
      const auto to = end(*node.find("to"), cable.to);
      if (!from || !to) continue;
      if (!from->front().is_switch && !to->front().is_switch) {
        error(*node.find("to"), "a cable joins two NICs: one end has to be a switch");
        continue;
      }
      if (*from == *to) {
        error(*node.find("to"), fmt::format("a cable joins '{}' to itself", cable.to));
        continue;
      }
      for (const CableEnd& a : *from) {
        for (const CableEnd& b : *to) connect(node, a, b, cable.count);
      }
    }
  }

  std::optional<std::vector<CableEnd>> end(const Node& node, const std::string& name) {
    auto ends = resolve_end(cluster_, name);
    if (!ends) {
      std::string hint = did_you_mean(name, cluster_.fabric.switches);
      if (hint.empty()) {
        hint = fmt::format("a switch of 'switches', or node0.nic0 to node{}.nic{}",
                           cluster_.nodes - 1, cluster_.nic.per_node - 1);
      }
      error(node, fmt::format("no switch or NIC is named '{}'", name), std::move(hint));
    }
    return ends;
  }

  void connect(const Node& node, CableEnd a, CableEnd b, int count) {
    for (const CableEnd& end : {a, b}) {
      int& ports = ports_[index(end)];
      const int free = end.is_switch ? cluster_.fabric.switch_radix : 1;
      if (free > 0 && ports <= free && ports + count > free) {
        error(node, end.is_switch
                        ? fmt::format("switch '{}' has {} ports, this cable needs the {}th",
                                      name_of(cluster_, end), free, ports + count)
                        : fmt::format("{} has a second cable", name_of(cluster_, end)));
      }
      ports += count;
    }
    joined_.emplace_back(index(a), index(b));
  }

  void ends() {
    for (std::size_t at = 0; at < cluster_.fabric.switches.size(); ++at) {
      if (ports_[nics_ + at] == 0) {
        error(fabric_.find("switches")->children[at],
              fmt::format("no cable leads to switch '{}'", cluster_.fabric.switches[at]));
      }
    }
    Components components(ports_.size());
    for (const auto& [a, b] : joined_) components.join(a, b);
    for (std::size_t nic = 0; nic < nics_; ++nic) {
      const CableEnd end{false, static_cast<int>(nic)};
      if (ports_[nic] == 0) {
        return error(fabric_, fmt::format("{} has no cable, so its GPUs reach no other node",
                                          name_of(cluster_, end)));
      }
    }
    // NICs of one index make a plane: it is enough that those find each other, for what crosses
    // planes is forwarded inside the node.
    const auto per_node = static_cast<std::size_t>(cluster_.nic.per_node);
    for (std::size_t nic = per_node; nic < nics_; ++nic) {
      if (components.root(nic) == components.root(nic % per_node)) continue;
      return error(
          fabric_,
          fmt::format("no path joins {} to {}", name_of(cluster_, {false, static_cast<int>(nic)}),
                      name_of(cluster_, {false, static_cast<int>(nic % per_node)})),
          "GPUs of both nodes could not talk to each other");
    }
  }

  const Cluster& cluster_;
  const Node& fabric_;
  ReadContext& context_;
  std::size_t nics_;
  std::vector<int> ports_;  // cables by end: NICs, then switches
  std::vector<std::pair<std::size_t, std::size_t>> joined_;
};

}  // namespace

std::optional<std::vector<CableEnd>> resolve_end(const Cluster& cluster, std::string_view name) {
  const auto& switches = cluster.fabric.switches;
  const auto found = std::find(switches.begin(), switches.end(), name);
  if (found != switches.end())
    return std::vector<CableEnd>{{true, static_cast<int>(found - switches.begin())}};
  std::string_view rest = name;
  if (!take(rest, "node")) return std::nullopt;
  const std::optional<int> first = take_number(rest);
  std::optional<int> last = first;
  if (first && take(rest, "-")) last = take_number(rest);
  if (!first || !last || !take(rest, ".nic")) return std::nullopt;
  const std::optional<int> nic = take_number(rest);
  if (!nic || !rest.empty() || *nic >= cluster.nic.per_node || *last < *first ||
      *last >= cluster.nodes) {
    return std::nullopt;
  }
  std::vector<CableEnd> ends;
  for (int node = *first; node <= *last; ++node)
    ends.push_back({false, node * cluster.nic.per_node + *nic});
  return ends;
}

std::vector<ResolvedCable> resolve_cables(const Cluster& cluster) {
  std::vector<ResolvedCable> resolved;
  for (const Cable& cable : cluster.fabric.cables) {
    const auto from = resolve_end(cluster, cable.from);
    const auto to = resolve_end(cluster, cable.to);
    ORRERY_CHECK(from && to, "cable from '{}' to '{}'", cable.from, cable.to);
    const BytesPerSecond bandwidth =
        cable.bandwidth.value() > 0 ? cable.bandwidth : cluster.nic.bandwidth;
    for (const CableEnd& a : *from) {
      for (const CableEnd& b : *to) resolved.push_back({a, b, bandwidth, cable.count});
    }
  }
  return resolved;
}

void check_custom_fabric(const Cluster& cluster, const Node& fabric, ReadContext& context) {
  Check(cluster, fabric, context).run();
}

}  // namespace orrery
