#include "workload/expert_rows.hpp"

#include <algorithm>
#include <cmath>

#include "core/error.hpp"
#include "workload/groups.hpp"
#include "workload/loaded_program.hpp"
#include "workload/world.hpp"

namespace orrery {
namespace {

class MeasuredRows : public ExpertRows {
 public:
  MeasuredRows(const Plan& plan, const Loads& loads)
      : loads_(loads),
        ep_(plan.layout.ep),
        even_(static_cast<double>(plan.tokens_per_microbatch()) / plan.layout.tp * plan.layout.etp *
              plan.model.moe.top_k) {
    check_loads(plan, loads);
    // Which rank of a layer stands at a position of a group.
    const int gpus = loads.ranks;
    groups_ = gpus / ep_;
    rank_.resize(static_cast<std::size_t>(gpus));
    for (int gpu = 0; gpu < gpus; ++gpu) {
      const int group = group_key(GroupKind::kExpert, plan.layout, gpu);
      const int position = gpu_place(plan.layout, gpu).expert;
      rank_[static_cast<std::size_t>(group * ep_ + position)] = gpu;
    }
    check_sums();
  }

  std::vector<double> rows(int microbatch, int layer, int group) const override {
    const auto found = std::lower_bound(loads_.layers.begin(), loads_.layers.end(), layer);
    const std::span<const double> all =
        loads_.rows(microbatch, static_cast<int>(found - loads_.layers.begin()));
    std::vector<double> rows;
    double sum = 0;
    for (int position = 0; position < ep_; ++position) {
      const auto place = static_cast<std::size_t>(group % groups_ * ep_ + position);
      rows.push_back(all[static_cast<std::size_t>(rank_[place])]);
      sum += rows.back();
    }
    for (double& own : rows) own *= ep_ / sum;
    return rows;
  }

 private:
  // Every token has its experts somewhere in its group, so that only how they are divided is open.
  void check_sums() const {
    constexpr double kClose = 0.02;  // rows may be padded to whole tiles
    for (int microbatch = 0; microbatch < loads_.microbatches; ++microbatch) {
      for (std::size_t layer = 0; layer < loads_.layers.size(); ++layer) {
        const std::span<const double> all = loads_.rows(microbatch, static_cast<int>(layer));
        for (int group = 0; group < groups_; ++group) {
          double sum = 0;
          for (int position = 0; position < ep_; ++position)
            sum += all[static_cast<std::size_t>(
                rank_[static_cast<std::size_t>(group * ep_ + position)])];
          if (std::abs(sum / (ep_ * even_) - 1) <= kClose) continue;
          throw InputError(fmt::format(
              "error: in layer {} of micro-batch {} the loads of {} GPUs add up to {:.0f} rows, "
              "but "
              "their tokens choose {:.0f} experts\n  = were they measured with other sequences, "
              "another batch or another top_k?",
              loads_.layers[layer], microbatch, ep_, sum, ep_ * even_));
        }
      }
    }
  }

  const Loads& loads_;
  int ep_, groups_ = 1;
  double even_;  // rows of a GPU under an even load
  std::vector<int> rank_;
};

}  // namespace

std::unique_ptr<ExpertRows> make_expert_rows(const Plan& plan, const Skew& skew) {
  if (skew.kind == SkewKind::kMeasured) {
    ORRERY_CHECK(skew.measured != nullptr, "no measured loads");
    return std::make_unique<MeasuredRows>(plan, *skew.measured);
  }
  return std::make_unique<ExpertSkew>(
      plan.model.moe, std::max(1, plan.layout.ep),
      static_cast<double>(plan.tokens_per_microbatch()) / plan.layout.tp, skew);
}

}  // namespace orrery
