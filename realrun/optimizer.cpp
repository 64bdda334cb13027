#include "realrun/optimizer.hpp"

#include <algorithm>
#include <cmath>

#include "kernels/adamw.hpp"
#include "kernels/router.hpp"

namespace orrery {
namespace {

// This rank's place among the GPUs that hold the group: members are ordered by pipeline rank, then
// by number within it (workload/world.hpp).
template <class T>
int place_in_group(const RankState<T>& rank, const HeldGroup& group) {
  const Layout& layout = rank.plan.layout;
  const int per_rank = group.replicas / static_cast<int>(group.pipeline_ranks.size());
  const auto found = std::find(group.pipeline_ranks.begin(), group.pipeline_ranks.end(),
                               Rank(rank.place.pipeline));
  const auto pipeline = static_cast<int>(found - group.pipeline_ranks.begin());
  int inside = rank.place.replica;  // of divided parameters
  if (group.set == ParameterSet::kReplicated)
    inside = rank.place.replica * layout.tp + rank.place.tensor;
  if (group.set == ParameterSet::kExpert) {
    const int fold = expert_fold(layout);
    const int blocks = layout.tp / layout.etp / fold;
    inside =
        rank.place.replica / (layout.ep / fold) * blocks + rank.place.tensor / layout.etp / fold;
  }
  return pipeline * per_rank + inside;
}

template <class T>
IndexRange replica_share(const RankState<T>& rank, std::size_t number) {
  const HeldGroup& group = rank.parameters.groups[number];
  const auto size = static_cast<std::int64_t>(rank.values[number].size());
  const std::int64_t share = size / group.replicas;
  return {share * place_in_group(rank, group), share};
}

template <class T>
int expected_contributions(const RankState<T>& rank, const ParameterBlock& block) {
  // Micro-batches that run through the stages that use the block on this rank.
  int count = 0;
  const Schedule& schedule = rank.plan.schedule;
  for (const ChunkPlace& chunk : schedule.chunks[static_cast<std::size_t>(rank.place.pipeline)]) {
    const Schedule::Range range = schedule.microbatches_of(chunk.direction);
    if (block.layer >= 0) {
      if (chunk.stage == block.stage) count += range.last - range.first;
      continue;
    }
    for (LayerKind kind : rank.plan.layout.stage_map[chunk.stage.index()]) {
      const bool embedding = kind == LayerKind::kEmbedding || kind == LayerKind::kMtp;
      const bool head = kind == LayerKind::kHead || kind == LayerKind::kMtp;
      if (block.name == "embedding weight" ? embedding : head) count += range.last - range.first;
    }
  }
  return count;
}

template <class T>
void update_bias(RankState<T>& rank) {
  if (rank.routing_bias.empty()) return;
  std::vector<std::int64_t> counts =
      rank.step_expert_counts.empty() ? expert_counts(rank) : rank.step_expert_counts;
  const std::int64_t experts = rank.sizes.experts;
  const std::int64_t* at = counts.data();
  for (auto& [unit, bias] : rank.routing_bias) {
    kernels::router_update_bias<T>(experts, at, rank.recipe.bias_rate, bias.data());
    at += experts;
  }
  rank.step_expert_counts = std::move(counts);
}

}  // namespace

template <class T>
IndexRange own_shard(const RankState<T>& rank, std::size_t group) {
  if (rank.plan.layout.zero_stage >= 1) return replica_share(rank, group);
  return {0, static_cast<std::int64_t>(rank.values[group].size())};
}

template <class T>
double squared_norm(const RankState<T>& rank) {
  double sum = 0;
  for (std::size_t group = 0; group < rank.gradients.size(); ++group) {
    const IndexRange share = replica_share(rank, group);
    const T* first = rank.gradients[group].data() + share.begin;
    sum += rank.kernels.squared_sum(share.count, first);
  }
  return sum;
}

template <class T>
std::vector<std::int64_t> expert_counts(RankState<T>& rank) {
  const auto experts = static_cast<std::size_t>(rank.sizes.experts);
  std::vector<std::int64_t> counts;
  for (const auto& [unit, bias] : rank.routing_bias) {
    const std::size_t first = counts.size();
    counts.resize(first + experts, 0);
    rank.for_each_frame(unit.first, unit.second, [&](const Frame<T>& frame) {
      for (std::size_t expert = 0; expert < frame.expert_counts.size(); ++expert)
        counts[first + expert] += frame.expert_counts[expert];
    });
  }
  return counts;
}

template <class T>
std::size_t held_group(const RankState<T>& rank, ParameterSet set, std::string_view work) {
  for (std::size_t group = 0; group < rank.parameters.groups.size(); ++group) {
    if (rank.parameters.groups[group].set == set) return group;
  }
  throw ProgramError(fmt::format("'{}' asks for parameters that the rank does not hold", work));
}

template <class T>
void check_parameter_bytes(const RankState<T>& rank, const Work& work, std::size_t number) {
  const HeldGroup& group = rank.parameters.groups[number];
  const double each =
      work.component == Component::kParameterGather ? 2 : bytes_of(rank.plan.training.gradient);
  const double passes = work.wire.pattern == Pattern::kAllReduce ? 2 : 1;
  const double expected =
      static_cast<double>(group.elements) * each * passes * (group.replicas - 1) / group.replicas;
  if (std::abs(expected - work.wire.logical.value()) > 0.5) {
    throw ProgramError(fmt::format(
        "'{}' moves {:.0f} B, the {} parameters that this rank holds in "
        "{} copies need {:.0f} B",
        work.name, work.wire.logical.value(), group.elements, group.replicas, expected));
  }
}

template <class T>
void check_contributions(const RankState<T>& rank, std::size_t group) {
  for (std::size_t index = 0; index < rank.parameters.blocks.size(); ++index) {
    const ParameterBlock& block = rank.parameters.blocks[index];
    if (block.group != static_cast<int>(group)) continue;
    const int expected = expected_contributions(rank, block);
    if (rank.contributions[index] == expected) continue;
    throw ProgramError(
        fmt::format("'{}' has {} gradients of micro-batches, {} are due: a weight "
                    "gradient is {}",
                    block.name, rank.contributions[index], expected,
                    rank.contributions[index] < expected ? "missing" : "there twice"));
  }
}

template <class T>
void check_reduced(const RankState<T>& rank) {
  for (std::size_t group = 0; group < rank.parameters.groups.size(); ++group) {
    const HeldGroup& held = rank.parameters.groups[group];
    if (held.replicas > 1 && !rank.step_end.reduced[group])
      throw ProgramError(fmt::format("gradients that {} ranks hold ({}) have not been reduced",
                                     held.replicas, to_string(held.set)));
  }
}

template <class T>
void check_gathered(const RankState<T>& rank) {
  if (rank.plan.layout.zero_stage < 1) return;
  for (std::size_t group = 0; group < rank.parameters.groups.size(); ++group) {
    const HeldGroup& held = rank.parameters.groups[group];
    if (held.replicas > 1 && !rank.step_end.gathered[group])
      throw ProgramError(
          fmt::format("rank {}: parameters that {} ranks share ({}) were not gathered", rank.gpu,
                      held.replicas, to_string(held.set)));
  }
}

// The norm clips and the counts move the bias: both of the whole, not of this rank's part.
template <class T>
void check_norm_and_counts(const RankState<T>& rank) {
  const Layout& layout = rank.plan.layout;
  if (layout.gpus() > 1 && !rank.step_end.normed)
    throw ProgramError("the gradient norm has not been summed over the ranks");
  const int counting = layout.dp * layout.cp * layout.tp * rank.plan.schedule.directions;
  if (!rank.routing_bias.empty() && counting > 1 && !rank.step_end.counted)
    throw ProgramError("the expert counts have not been summed over the ranks");
}

template <class T>
void update_parameters(RankState<T>& rank, double parameters) {
  double own = 0;
  for (const HeldGroup& group : rank.parameters.groups) {
    const bool sharded = rank.plan.layout.zero_stage >= 1;
    own += static_cast<double>(group.elements) / (sharded ? group.replicas : 1);
  }
  if (std::abs(own - parameters) > 0.5) {
    throw ProgramError(fmt::format(
        "the optimizer updates {:.1f} parameters, this rank's share of what it holds is {:.1f}",
        parameters, own));
  }
  for (std::size_t group = 0; group < rank.parameters.groups.size(); ++group)
    check_contributions(rank, group);
  check_reduced(rank);
  check_norm_and_counts(rank);
  if (rank.evaluates) return;
  kernels::AdamwStep step;
  const Recipe& recipe = rank.recipe;
  step.learning_rate = recipe.learning_rate;
  step.beta1 = recipe.beta1;
  step.beta2 = recipe.beta2;
  step.epsilon = recipe.epsilon;
  step.step = ++rank.optimizer_steps;
  if (recipe.clip_norm > 0 && rank.gradient_norm > recipe.clip_norm)
    step.gradient_scale = recipe.clip_norm / rank.gradient_norm;
  for (const ParameterBlock& block : rank.parameters.blocks) {
    const auto group = static_cast<std::size_t>(block.group);
    const IndexRange shard = own_shard(rank, group);
    const std::int64_t first = std::max(block.offset, shard.begin);
    const std::int64_t last = std::min(block.offset + block.elements(), shard.begin + shard.count);
    if (first >= last) continue;
    step.weight_decay = block.is_norm ? 0 : recipe.weight_decay;
    rank.moments.update(rank.kernels, group, first - shard.begin, last - first, step,
                        rank.gradients[group].data() + first, rank.values[group].data() + first);
  }
  update_bias(rank);
}

#define ORRERY_OPTIMIZER(T)                                                                \
  template IndexRange own_shard<T>(const RankState<T>&, std::size_t);                      \
  template double squared_norm<T>(const RankState<T>&);                                    \
  template std::vector<std::int64_t> expert_counts<T>(RankState<T>&);                      \
  template std::size_t held_group<T>(const RankState<T>&, ParameterSet, std::string_view); \
  template void check_parameter_bytes<T>(const RankState<T>&, const Work&, std::size_t);   \
  template void check_contributions<T>(const RankState<T>&, std::size_t);                  \
  template void check_reduced<T>(const RankState<T>&);                                     \
  template void check_gathered<T>(const RankState<T>&);                                    \
  template void update_parameters<T>(RankState<T>&, double);
ORRERY_OPTIMIZER(float)
ORRERY_OPTIMIZER(double)
#undef ORRERY_OPTIMIZER

}  // namespace orrery
