#include "planner/layouts/space.hpp"

#include <algorithm>

namespace orrery {
namespace {

std::vector<int> powers_of_two(int most) {
  std::vector<int> out;
  for (int value = 1; value <= most; value *= 2) out.push_back(value);
  return out;
}

template <class... Lists>
std::int64_t product(const Lists&... lists) {
  return (static_cast<std::int64_t>(lists.size()) * ... * 1);
}

bool divides(std::int64_t part, std::int64_t whole) {
  return whole % part == 0;
}

// What can have a stage of its own: every layer, embedding and head.
int entries(const Model& model) {
  return model.layers + model.mtp_depth + 2;
}

bool tensor_parallel_fits(const Model& model, const Training& training, const Layout& layout) {
  const int tp = layout.tp;
  if (tp == 1) return true;
  const std::int64_t tokens = std::int64_t{training.sequence} * layout.micro_batch / layout.cp;
  return divides(tp, model.attention.heads) && divides(tp, model.attention.kv_heads) &&
         (model.dense_layers == 0 || divides(tp, model.dense_inter)) &&
         (model.moe_layers() == 0 || model.moe.shared_experts == 0 ||
          divides(tp, std::int64_t{model.moe.shared_experts} * model.moe.inter)) &&
         divides(tp, tokens);
}

// `vpp`: how many chunks a rank has of one direction.
bool chunks_suit(StagePlacement placement, int vpp) {
  if (placement == StagePlacement::kWave) return vpp >= 2;
  return vpp == (placement == StagePlacement::kV ? 2 : 1);
}

}  // namespace

std::int64_t LayoutSpace::schedules() const {
  return product(vpp, schedule);
}

std::int64_t LayoutSpace::points_a_setting() const {
  return schedules() * product(comm_sms, zero, optimizer, ema);
}

std::vector<StateChoice> LayoutSpace::states() const {
  std::vector<StateChoice> states;
  for (const int stage : zero) {
    for (const Keep of_optimizer : optimizer) {
      for (const Keep of_average : ema) states.push_back({stage, of_optimizer, of_average});
    }
  }
  return states;
}

void apply(const StateChoice& choice, Layout& layout) {
  layout.zero_stage = choice.zero;
  layout.optimizer = choice.optimizer;
  layout.ema = choice.ema;
}

std::int64_t LayoutSpace::settings() const {
  return product(pp, tp, cp, ep, etp, micro_batch, precision, recompute);
}

Setting setting_at(const LayoutSpace& space, std::int64_t number) {
  Setting setting;
  Layout& layout = setting.layout;
  const auto digit = [&](const auto& list) {
    const auto size = static_cast<std::int64_t>(list.size());
    const auto place = static_cast<std::size_t>(number % size);
    number /= size;
    return list[place];
  };
  layout.recompute = digit(space.recompute);
  layout.precision = digit(space.precision);
  layout.micro_batch = digit(space.micro_batch);
  layout.etp = digit(space.etp);
  layout.ep = digit(space.ep);
  layout.cp = digit(space.cp);
  layout.tp = digit(space.tp);
  layout.pp = digit(space.pp);
  layout.dp = 0;
  layout.vpp = space.vpp.front();
  layout.comm_sms = space.comm_sms.front();
  apply({space.zero.front(), space.optimizer.front(), space.ema.front()}, layout);
  return setting;
}

LayoutSpace whole_space(const Model& model, const Cluster& cluster) {
  constexpr int kMostSequences = 8, kMostVpp = 8;
  LayoutSpace space;
  space.optimizer = {Keep::kGpu};
  space.ema = {Keep::kCpu};
  if (cluster.fabric.kind == FabricKind::kHost) {
    space.pp = powers_of_two(std::min(model.layers + model.mtp_depth, cluster.gpus()));
    space.ep = powers_of_two(std::max(1, model.moe.experts));
    space.tp = space.cp = space.etp = space.micro_batch = space.vpp = space.zero = {1};
    space.precision = {Precision::kBf16};
    space.recompute = {Recompute::kSelective};
    space.comm_sms = {Layout{}.comm_sms};
    space.schedule = {"1f1b", "dualpipe"};
    return space;
  }
  space.pp = powers_of_two(std::min(entries(model), cluster.gpus()));
  space.tp = space.cp = space.etp = powers_of_two(cluster.gpus_per_node);
  space.ep = powers_of_two(std::max(1, model.moe.experts));
  if (model.moe.experts == 0) space.etp = {1};
  space.micro_batch = powers_of_two(kMostSequences);
  space.vpp = powers_of_two(kMostVpp);
  // One scale a tensor is not taken by itself: whether a model trains with it is another question
  // than how fast.
  space.precision = {Precision::kFp8, Precision::kBf16};
  // `experts` lies between selective and full; it is for who asks for it (--fix recompute=experts).
  space.recompute = {Recompute::kSelective, Recompute::kNone, Recompute::kFull,
                     Recompute::kAttention, Recompute::kMlp};
  space.ema.push_back(Keep::kGpu);
  if (cluster.host) space.optimizer.push_back(Keep::kCpu);
  space.comm_sms = {20, 8, 12, 16, 24, 32};
  space.zero = {1, 0, 2, 3};
  for (const ScheduleFamily& family : schedule_families()) space.schedule.emplace_back(family.name);
  return space;
}

std::optional<const char*> rule_out(const Model& model, const Cluster& cluster,
                                    const Training& training, bool has_fp8, Setting& setting) {
  Layout& layout = setting.layout;
  const std::int64_t replica = std::int64_t{layout.pp} * layout.tp * layout.cp;
  if (replica > cluster.gpus() || !divides(replica, cluster.gpus())) return rejections::kGpus;
  layout.dp = static_cast<int>(cluster.gpus() / replica);
  if (layout.pp > entries(model)) return rejections::kStages;
  if (!tensor_parallel_fits(model, training, layout)) return rejections::kTensor;
  if (layout.cp > 1 && !divides(std::int64_t{2} * layout.cp, training.sequence))
    return rejections::kContext;
  if (layout.etp > 1 && (!divides(layout.etp, layout.tp) || !divides(layout.etp, model.moe.inter)))
    return rejections::kExpertTensor;
  if (model.moe_layers() == 0 && layout.ep > 1) return rejections::kNoExperts;
  if (model.moe_layers() > 0) {
    if (!divides(layout.ep, model.moe.experts)) return rejections::kExperts;
    if (!divides(layout.ep, std::int64_t{layout.dp} * layout.cp * (layout.tp / layout.etp)))
      return rejections::kExpertGroups;
  }
  const std::int64_t at_once = std::int64_t{layout.dp} * layout.micro_batch;
  if (!divides(at_once, training.global_batch)) return rejections::kBatch;
  setting.microbatches = static_cast<int>(training.global_batch / at_once);
  if (is_fp8(layout.precision) && !has_fp8) return rejections::kNoFp8;
  return std::nullopt;
}

std::optional<const char*> rule_out(const Model& model, const Setting& setting,
                                    const std::string& schedule, int vpp) {
  const ScheduleFamily& family = schedule_family(schedule);
  if (!chunks_suit(family.placement, vpp)) return rejections::kChunks;
  if (setting.layout.pp * vpp > entries(model)) return rejections::kStages;
  if (family.why_not(
          {.pp = setting.layout.pp, .microbatches = setting.microbatches, .chunks = vpp}))
    return rejections::kNoSchedule;
  return std::nullopt;
}

}  // namespace orrery
