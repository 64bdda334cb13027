#include "workload/closing.hpp"

#include <algorithm>

#include "workload/edge_ops.hpp"
#include "workload/parameter_exchange.hpp"
#include "workload/placement.hpp"
#include "workload/stage_parameters.hpp"

namespace orrery {
namespace {

// Reduced and gathered with each micro-batch by ZeRO stages 2 and 3 (workload/zero_works.hpp).
bool in_one_rank(const ParameterGroup& group) {
  return group.ranks.size() == 1;
}

class Closing {
 public:
  Closing(const Model& model, const Cluster& cluster, const Layout& layout,
          const Training& training, const Schedule& schedule)
      : model_(model),
        cluster_(cluster),
        layout_(layout),
        training_(training),
        schedule_(schedule),
        placement_(place(cluster, layout)) {}

  std::vector<ClosingStep> make() {
    const std::vector<ParameterGroup> groups = parameter_groups(model_, layout_, schedule_);
    const bool sharded = layout_.zero_stage >= 1;
    const Pattern reduce = sharded ? Pattern::kReduceScatter : Pattern::kAllReduce;
    for (const ParameterGroup& group : groups) {
      if (layout_.zero_stage >= 2 && in_one_rank(group)) continue;
      exchange(group, Component::kGradientReduce, "gradient reduction", reduce,
               bytes_of(training_.gradient));
    }
    expert_counts();
    // Global gradient norm: every GPU squares what it owns, and though only one number is
    // exchanged, every rank waits for every other.
    for (int rank = 0; rank < layout_.pp; ++rank) {
      const Op norm = gradient_norm(training_, optimizer_shard(groups, Rank(rank), true));
      steps_.push_back(
          {{Rank(rank)}, {Component::kOptimizer, Pass::kW, "gradient norm", {norm}, {}}, 0});
    }
    const Wire wire =
        collective_wire(Pattern::kAllReduce, Bytes{8}, cluster_.gpus(), cluster_.gpus_per_node);
    std::vector<Rank> everyone;
    for (int rank = 0; rank < layout_.pp; ++rank) everyone.push_back(Rank(rank));
    steps_.push_back({everyone,
                      {Component::kGradientReduce,
                       Pass::kW,
                       "gradient norm all-reduce",
                       {},
                       wire,
                       "gradient norm"},
                      0});
    for (int rank = 0; rank < layout_.pp; ++rank) {
      const double shard = optimizer_shard(groups, Rank(rank), sharded);
      steps_.push_back({{Rank(rank)}, update_work(training_, layout_, shard), shard});
    }
    if (sharded) {
      for (const ParameterGroup& group : groups) {
        if (layout_.zero_stage >= 3 && in_one_rank(group)) continue;
        exchange(group, Component::kParameterGather, "parameter gather", Pattern::kAllGather, 2);
      }
    }
    // ZeRO-3 casts what it gathers.
    if (layout_.precision == Precision::kFp8Tensor && layout_.zero_stage < 3) cast_weights();
    return std::move(steps_);
  }

 private:
  void exchange(const ParameterGroup& group, Component component, const std::string& name,
                Pattern pattern, double bytes_per_parameter) {
    if (group.replicas == 1) return;
    const Bytes payload{group.parameters * bytes_per_parameter};
    steps_.push_back({group.ranks,
                      parameter_exchange(placement_, layout_,
                                         {group.set, component, Pass::kW, name, pattern, payload,
                                          group.ranks, group.replicas}),
                      0});
  }

  void cast_weights() {
    for (int rank = 0; rank < layout_.pp; ++rank) {
      const RankParameters own = rank_parameters(model_, layout_, schedule_, Rank(rank));
      steps_.push_back(
          {{Rank(rank)},
           {Component::kOptimizer, Pass::kW, "cast weights", {weight_cast(own.quantised)}, {}},
           0});
    }
  }

  // The correction bias of the router follows the loads of the whole batch (DeepSeek-V3 report,
  // section 2.1.2): the counts of all GPUs that hold a layer are summed.
  void expert_counts() {
    const int replicas = layout_.dp * layout_.cp * layout_.tp * schedule_.directions;
    if (replicas == 1) return;
    for (const std::vector<Rank>& ranks : mirrored_ranks(schedule_)) {
      double layers = 0;
      for (const ChunkPlace& chunk : schedule_.chunks[ranks.front().index()]) {
        const std::vector<LayerKind>& entries = layout_.stage_map[chunk.stage.index()];
        layers +=
            static_cast<double>(std::count_if(entries.begin(), entries.end(), [](LayerKind kind) {
              return kind == LayerKind::kMoe || kind == LayerKind::kMtp;
            }));
      }
      if (layers == 0) continue;
      const int in_node = std::min(placement_.gpus_per_node, placement_.gpus_per_rank) *
                          placement_.ranks_in_node(ranks);
      const Wire wire = collective_wire(Pattern::kAllReduce, Bytes{layers * model_.moe.experts * 4},
                                        replicas, std::min(in_node, replicas));
      steps_.push_back({ranks,
                        {Component::kGradientReduce,
                         Pass::kW,
                         "expert count all-reduce",
                         {},
                         wire,
                         "expert counts"},
                        0});
    }
  }

  const Model& model_;
  const Cluster& cluster_;
  const Layout& layout_;
  const Training& training_;
  const Schedule& schedule_;
  Placement placement_;
  std::vector<ClosingStep> steps_;
};

}  // namespace

Work update_work(const Training& training, const Layout& layout, double parameters) {
  std::vector<Op> ops = {optimizer_update(training, parameters)};
  if (layout.optimizer == Keep::kCpu) ops = host_optimizer_update(training, parameters);
  if (layout.ema == Keep::kGpu) ops.push_back(ema_update(parameters));
  return {Component::kOptimizer, Pass::kW, "optimizer", std::move(ops), {}};
}

std::vector<ClosingStep> closing_steps(const Model& model, const Cluster& cluster,
                                       const Layout& layout, const Training& training,
                                       const Schedule& schedule) {
  return Closing(model, cluster, layout, training, schedule).make();
}

}  // namespace orrery
