#include "sim/nccl_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "core/error.hpp"

namespace orrery {
namespace {

using PerProtocol = std::array<double, 3>;  // LL, LL128, Simple

// Latencies in microseconds (baseLat and hwLat).
constexpr PerProtocol kRingBase{6.6, 14.0, 8.4}, kTreeBase{6.8, 14.0, 8.4};
constexpr PerProtocol kRingNvlink{0.6, 1.9, 3.4}, kTreeNvlink{0.6, 1.25, 4.0};
constexpr PerProtocol kRingNetwork{2.7, 4.0, 14.0}, kTreeNetwork{5.0, 8.5, 14.0};
constexpr double kNvlsNvlink = 25, kNvlsTreeNetwork = 14;
// What posting a network operation costs on an Intel host; three of them with Simple.
constexpr double kPost = 1.0;
// LL's bus bandwidth at most, GB/s: one node (Hopper), two, more (Intel hosts).
constexpr std::array<double, 3> kLlMost{141.0, 39.0, 20.4};
// How far trees fall short, by powers of two from 64 B.
constexpr std::array<std::array<double, 24>, 3> kTreeCorrection{{
    {1, 1, 1, 1, .9, .8, .7, .7, .7, .7, .6, .5, .4, .4, .5, .6, .7, .8, .9, 1, 1, 1, 1, 1},
    {1, 1, 1, 1, 1, .9, .8, .8, .8, .7, .6, .6, .6, .6, .6, .6, .8, .9, .9, .9, .9, 1, 1, 1},
    {.9, .9, .9, .9, .9, .9, .9, .8, .7, .6, .6, .5,
     .5, .5, .5, .6, .7, .8, .7, .7, .8, .9, .9, .9},
}};

std::string_view to_string(NcclAlgorithm algorithm) {
  switch (algorithm) {
    case NcclAlgorithm::kRing: return "ring";
    case NcclAlgorithm::kTree: return "tree";
    case NcclAlgorithm::kNvls: return "NVLS";
    case NcclAlgorithm::kNvlsTree: return "NVLS tree";
  }
  return "";
}

std::string_view to_string(NcclProtocol protocol) {
  switch (protocol) {
    case NcclProtocol::kLl: return "LL";
    case NcclProtocol::kLl128: return "LL128";
    case NcclProtocol::kSimple: return "Simple";
  }
  return "";
}

int floor_log2(std::uint64_t value) {
  return value == 0 ? 0 : std::bit_width(value) - 1;
}

class Model {
 public:
  explicit Model(const NcclGroup& group)
      : group_(group),
        all_reduce_(group.pattern == Pattern::kAllReduce),
        ranks_(group.gpus),
        nodes_(group.nodes()),
        ll_most_(kLlMost[static_cast<std::size_t>(std::min(nodes_, 3) - 1)] * 1e9) {}

  std::vector<NcclChoice> run() {
    for (const NcclProtocol protocol :
         {NcclProtocol::kLl, NcclProtocol::kLl128, NcclProtocol::kSimple}) {
      add(NcclAlgorithm::kRing, protocol, ring_latency(protocol), ring_rate(protocol));
      if (all_reduce_)
        add(NcclAlgorithm::kTree, protocol, tree_latency(protocol), tree_rate(protocol));
    }
    if (all_reduce_ && group_.nvls) add_nvls(group_.nvls->value());
    return std::move(choices_);
  }

 private:
  void add(NcclAlgorithm algorithm, NcclProtocol protocol, double latency_us, double rate) {
    choices_.push_back({algorithm, protocol, microseconds(latency_us), BytesPerSecond{rate}});
  }

  double ring_latency(NcclProtocol protocol) const {
    const auto at = static_cast<std::size_t>(protocol);
    const int passes = all_reduce_ ? 2 : 1;
    const int between = nodes_ == 1 ? 0 : passes * (nodes_ - 1);
    const int inside = passes * (ranks_ - 1) - between;
    double hop = kRingNvlink[at];
    if (nodes_ > 1) hop = std::max(hop, protocol == NcclProtocol::kSimple ? 3 * kPost : kPost);
    // With one GPU a node nothing hides the network's latency.
    const double network = group_.in_node == 1 ? kTreeNetwork[at] : kRingNetwork[at];
    const double sum = kRingBase[at] + inside * hop + between * network;
    // "Plateau effect": a large all-reduce over nodes has more latency than its hops.
    const bool plateau = all_reduce_ && nodes_ > 1 && protocol == NcclProtocol::kSimple &&
                         group_.payload.value() / (kChannels * ranks_) >= 64;
    return plateau ? 1.4 * sum : sum;
  }
  double ring_rate(NcclProtocol protocol) const {
    double bus = group_.ring.value();
    if (protocol == NcclProtocol::kLl) bus = std::min(bus / 2, ll_most_);
    if (protocol == NcclProtocol::kLl128) bus *= 0.92;
    return bus * ranks_ / ((all_reduce_ ? 2.0 : 1.0) * (ranks_ - 1));
  }

  double tree_latency(NcclProtocol protocol) const {
    const auto at = static_cast<std::size_t>(protocol);
    const auto levels = floor_log2(static_cast<std::uint64_t>(nodes_));
    return kTreeBase[at] +
           2 * ((ranks_ / nodes_ - 1) * kTreeNvlink[at] + levels * kTreeNetwork[at]);
  }
  double tree_rate(NcclProtocol protocol) const {
    double bus = group_.ring.value() * 0.92;
    if (protocol == NcclProtocol::kLl) bus = std::min(bus / 3.8, ll_most_);
    if (protocol == NcclProtocol::kLl128) bus *= nodes_ == 1 ? 7.0 / 9 : 120.0 / 128;
    bus *= 0.85;
    const auto size = static_cast<std::size_t>(
        floor_log2(static_cast<std::uint64_t>(group_.payload.value()) >> 6));
    const auto& correction = kTreeCorrection[static_cast<std::size_t>(protocol)];
    if (size < correction.size()) bus *= correction[size];
    return bus / 2;
  }

  void add_nvls(double bus) {
    // What the switch gives each GPU of a node, as payload.
    const double inside = bus * group_.in_node / (2.0 * (group_.in_node - 1));
    if (nodes_ == 1) {
      add(NcclAlgorithm::kNvls, NcclProtocol::kSimple, kNvlsNvlink, inside);
      return;
    }
    const double between = group_.ring.value() * (nodes_ == 2 ? 1 : 0.5) * 5 / 6;
    const auto levels = floor_log2(static_cast<std::uint64_t>(nodes_));
    add(NcclAlgorithm::kNvlsTree, NcclProtocol::kSimple,
        kNvlsNvlink + 2 * levels * kNvlsTreeNetwork, std::min(inside, between));
  }

  static constexpr int kChannels = 16;  // of a Hopper node with eight NICs

  const NcclGroup& group_;
  bool all_reduce_;
  int ranks_, nodes_;
  double ll_most_;
  std::vector<NcclChoice> choices_;
};

}  // namespace

std::vector<NcclChoice> nccl_choices(const NcclGroup& group) {
  ORRERY_CHECK(group.gpus >= 2 && group.in_node >= 1 && group.in_node <= group.gpus,
               "a collective of {} GPUs, {} in a node", group.gpus, group.in_node);
  NcclGroup own = group;
  // Neither one nor two GPUs of a node make use of its switch.
  if (group.in_node <= 2) own.nvls.reset();
  return Model(own).run();
}

NcclChoice nccl_choice(const NcclGroup& group) {
  const std::vector<NcclChoice> choices = nccl_choices(group);
  return *std::min_element(choices.begin(), choices.end(),
                           [&](const NcclChoice& a, const NcclChoice& b) {
                             return a.time(group.payload) < b.time(group.payload);
                           });
}

std::string describe(const NcclChoice& choice) {
  return fmt::format("{}, {}", to_string(choice.algorithm), to_string(choice.protocol));
}

}  // namespace orrery
