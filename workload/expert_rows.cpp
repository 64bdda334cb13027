#include "workload/expert_rows.hpp"

#include <algorithm>

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
        even_(static_cast<double>(plan.tokens_per_microbatch()) / plan.layout.tp *
              plan.model.moe.top_k) {
    check_loads(plan, loads);
    // Before anything is simulated.
    const StageMap& map = plan.layout.stage_map;
    for (std::size_t stage = 0; stage < map.size(); ++stage) {
      for (std::size_t entry = 0; entry < map[stage].size(); ++entry) {
        if (map[stage][entry] != LayerKind::kMoe && map[stage][entry] != LayerKind::kMtp) continue;
        const int layer =
            model_layer(plan.layout, plan.model, Stage(static_cast<std::int64_t>(stage)),
                        static_cast<int>(entry));
        if (!std::binary_search(loads.layers.begin(), loads.layers.end(), layer))
          throw InputError(fmt::format("error: the loads say nothing of layer {}", layer));
      }
    }
    // Which rank of a layer stands at a position of a group.
    const int gpus = loads.ranks;
    groups_ = gpus / ep_;
    rank_.resize(static_cast<std::size_t>(gpus));
    for (int gpu = 0; gpu < gpus; ++gpu) {
      const int group = group_key(GroupKind::kExpert, plan.layout, gpu);
      const int position = gpu_place(plan.layout, gpu).expert;
      rank_[static_cast<std::size_t>(group * ep_ + position)] = gpu;
    }
  }

  std::vector<double> rows(int microbatch, int layer, int group) const override {
    const auto found = std::lower_bound(loads_.layers.begin(), loads_.layers.end(), layer);
    const std::span<const double> all =
        loads_.rows(microbatch, static_cast<int>(found - loads_.layers.begin()));
    std::vector<double> rows;
    for (int position = 0; position < ep_; ++position) {
      const auto place = static_cast<std::size_t>(group % groups_ * ep_ + position);
      rows.push_back(all[static_cast<std::size_t>(rank_[place])] / even_);
    }
    return rows;
  }

 private:
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
