#include "workload/unit_set.hpp"

#include <algorithm>
#include <mutex>
#include <set>
#include <utility>

namespace orrery {
namespace {

// Context-parallel neighbours are tp GPUs apart.
void leave_nodes(std::vector<Work>& works, const Cluster& cluster, const Layout& layout) {
  for (Work& work : works) {
    const bool context_parallel = work.component == Component::kContextParallel;
    if (!context_parallel && work.component != Component::kTensorParallel) continue;
    const int group = work.wire.group;
    const int apart = context_parallel ? layout.tp : 1;
    const int beside = std::clamp(cluster.gpus_per_node / apart, 1, group);
    if (beside == group) continue;
    const double passes = work.wire.pattern == Pattern::kAllReduce ? 2 : 1;
    const Bytes payload = work.wire.logical * (group / (passes * (group - 1)));
    work.wire = collective_wire(work.wire.pattern, payload, group, beside);
  }
}

}  // namespace

UnitSet make_unit_set(const Model& model, const Cluster& cluster, const Layout& layout,
                      int sequence, const RoutingSpread& spread, std::span<const LayerKind> kinds) {
  UnitSet set;
  const int in_node = place(cluster, layout).expert_group_gpus_per_node(layout.ep);
  const Shard shard = make_shard(model, layout, sequence, spread);
  for (LayerKind kind : std::set<LayerKind>(kinds.begin(), kinds.end()))
    set.units.emplace(kind, make_unit(set.works, shard, kind, in_node));
  leave_nodes(set.works, cluster, layout);
  set.boundary = Bytes{shard.local_tokens() * model.hidden * 2};
  const auto transfer = [&](Bytes nic, Bytes nvlink) {
    set.works.push_back({Component::kPipeline,
                         Pass::kF,
                         "pipeline transfer",
                         {},
                         {Pattern::kSend, 2, set.boundary, nic, nvlink}});
    return WorkId(static_cast<std::int64_t>(set.works.size()) - 1);
  };
  set.send_between_nodes = transfer(set.boundary, Bytes{});
  set.send_inside_node = transfer(Bytes{}, set.boundary);
  return set;
}

RoutingSpread routing_spread(const Model& model, const Cluster& cluster, const Layout& layout,
                             std::uint64_t seed) {
  struct Drawn {
    Moe moe;
    std::uint64_t seed;
    int ep, in_node;
    RoutingSpread spread;
  };
  // Drawing a sample takes longer than all else that a plan is lowered with, and a search asks for
  // the same few again and again.
  static std::mutex guard;
  static std::vector<std::pair<std::uint64_t, RoutingSample>> samples;
  static std::vector<Moe> sampled;
  static std::vector<Drawn> known;
  const int ep = std::max(1, layout.ep);
  const int in_node = place(cluster, layout).expert_group_gpus_per_node(layout.ep);
  const std::lock_guard lock(guard);
  for (const Drawn& drawn : known) {
    if (drawn.ep == ep && drawn.in_node == in_node && drawn.seed == seed && drawn.moe == model.moe)
      return drawn.spread;
  }
  std::size_t at = 0;
  while (at < samples.size() && (samples[at].first != seed || sampled[at] != model.moe)) ++at;
  if (at == samples.size()) {
    samples.emplace_back(seed, RoutingSample(model.moe, seed + 1));
    sampled.push_back(model.moe);
  }
  known.push_back({model.moe, seed, ep, in_node, samples[at].second.spread(ep, in_node)});
  return known.back().spread;
}

}  // namespace orrery
