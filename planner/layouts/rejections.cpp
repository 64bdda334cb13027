#include "planner/layouts/rejections.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/error.hpp"
#include "planner/schedules/families.hpp"

namespace orrery {
namespace {

// What tp has to divide and does not; the rules are those of check_layout.
std::string tensor_arithmetic(const Model& model, const Training& training, const Layout& layout) {
  std::string text;
  const auto split = [&](const char* what, std::int64_t size) {
    if (size % layout.tp == 0) return;
    text += text.empty() ? fmt::format("tp={} does not divide {} = {}", layout.tp, what, size)
                         : fmt::format(", nor {} = {}", what, size);
  };
  split("heads", model.attention.heads);
  if (model.attention.kv_heads != model.attention.heads)
    split("key-value heads", model.attention.kv_heads);
  if (model.dense_layers > 0) split("the width of a dense layer", model.dense_inter);
  if (model.moe_layers() > 0 && model.moe.shared_experts > 0) {
    split("the width of the shared experts",
          std::int64_t{model.moe.shared_experts} * model.moe.inter);
  }
  split("the tokens of a micro-batch",
        std::int64_t{training.sequence} * layout.micro_batch / layout.cp);
  return text;
}

std::string schedule_arithmetic(const Training& training, const RejectedPoint& point) {
  const Layout& layout = point.layout;
  const int microbatches = training.global_batch / (layout.dp * layout.micro_batch);
  const auto why =
      schedule_family(point.schedule)
          .why_not({.pp = layout.pp, .microbatches = microbatches, .chunks = layout.vpp});
  ORRERY_CHECK(why, "{} has a schedule of this size", point.schedule);
  return *why;
}

std::string chunks_arithmetic(const RejectedPoint& point) {
  const StagePlacement placement = schedule_family(point.schedule).placement;
  const char* wanted = placement == StagePlacement::kWave ? "of 2 or more"
                       : placement == StagePlacement::kV  ? "of 2"
                                                          : "of 1";
  return fmt::format("vpp={}, but {} ({}) needs a vpp {}", point.layout.vpp, point.schedule,
                     to_string(placement), wanted);
}

constexpr std::array kRules = {rejections::kGpus,
                               rejections::kStages,
                               rejections::kTensor,
                               rejections::kContext,
                               rejections::kExpertTensor,
                               rejections::kNoExperts,
                               rejections::kExperts,
                               rejections::kExpertGroups,
                               rejections::kBatch,
                               rejections::kNoFp8,
                               rejections::kChunks,
                               rejections::kNoSchedule,
                               rejections::kStagesOnTwoRanks};

}  // namespace

std::vector<std::string> in_order(const std::map<std::string, std::int64_t>& rejected) {
  std::vector<std::string> reasons;
  for (const auto& [reason, points] : rejected) {
    if (std::find(kRules.begin(), kRules.end(), reason) == kRules.end()) reasons.push_back(reason);
  }
  for (const std::string rule : kRules) {
    if (rejected.contains(rule)) reasons.push_back(rule);
  }
  return reasons;
}

std::string rejection_arithmetic(const Model& model, const Cluster& cluster,
                                 const Training& training, const std::string& reason,
                                 const RejectedPoint& point) {
  using namespace rejections;
  const Layout& layout = point.layout;
  const std::int64_t replica = std::int64_t{layout.pp} * layout.tp * layout.cp;
  const std::int64_t dp = cluster.gpus() / replica;
  if (reason == kGpus)
    return fmt::format("the cluster has {} GPUs, pp*tp*cp = {}*{}*{} = {}", cluster.gpus(),
                       layout.pp, layout.tp, layout.cp, replica);
  if (reason == kStages) {
    return fmt::format(
        "pp*vpp = {}*{} = {} stages, but {} layers, {} MTP modules, embedding and head = {} to "
        "place",
        layout.pp, layout.vpp, layout.pp * layout.vpp, model.layers, model.mtp_depth,
        model.layers + model.mtp_depth + 2);
  }
  if (reason == kTensor) return tensor_arithmetic(model, training, layout);
  if (reason == kContext) {
    return fmt::format("2*cp = {}, but the sequence has {} tokens", 2 * layout.cp,
                       training.sequence);
  }
  if (reason == kExpertTensor) {
    return fmt::format("etp={}, but tp={} and the width of an expert = {}", layout.etp, layout.tp,
                       model.moe.inter);
  }
  if (reason == kNoExperts) return fmt::format("ep={}, but the model has no experts", layout.ep);
  if (reason == kExperts)
    return fmt::format("ep={}, but the model has {} experts", layout.ep, model.moe.experts);
  if (reason == kExpertGroups) {
    return fmt::format("ep={}, but dp*cp*tp/etp = {}*{}*{}/{} = {}", layout.ep, dp, layout.cp,
                       layout.tp, layout.etp, dp * layout.cp * (layout.tp / layout.etp));
  }
  if (reason == kBatch) {
    return fmt::format("dp*mbs = {}*{} = {}, but the batch has {} sequences", dp,
                       layout.micro_batch, dp * layout.micro_batch, training.global_batch);
  }
  if (reason == kNoFp8) {
    return fmt::format("precision={}, but a GPU of '{}' computes nothing narrower than BF16",
                       to_string(layout.precision), cluster.name);
  }
  if (reason == kChunks) return chunks_arithmetic(point);
  if (reason == kNoSchedule) return schedule_arithmetic(training, point);
  ORRERY_CHECK(reason == kStagesOnTwoRanks, "no arithmetic for '{}'", reason);
  return fmt::format("zero={}, but {} ({}) holds each stage on two ranks", layout.zero_stage,
                     point.schedule, to_string(schedule_family(point.schedule).placement));
}

}  // namespace orrery
