#include "workload/unit_works.hpp"

#include "workload/attention_ops.hpp"
#include "workload/edge_ops.hpp"
#include "workload/moe_ops.hpp"

namespace orrery {
namespace {

class UnitMaker {
 public:
  UnitMaker(std::vector<Work>& works, const Shard& shard, int group_gpus_per_node)
      : works_(works), shard_(shard), group_gpus_per_node_(group_gpus_per_node) {}

  // The steps of one component as works; several lists run back to back as one component.
  template <class... More>
  Chain chain(const char* name, Pass pass, Steps steps, More... more) {
    (append(steps, std::move(more)), ...);
    Chain chain;
    for (Step& step : steps) {
      Work work;
      work.component = step.component;
      work.pass = pass;
      work.name = std::string(name) + "(" + std::string(to_string(pass)) + ")";
      if (step.wire.pattern != Pattern::kNone)
        work.name += " " + std::string(to_string(step.wire.pattern)) + " of " + step.tensor;
      work.ops = std::move(step.ops);
      work.wire = step.wire;
      work.tensor = std::move(step.tensor);
      chain.push_back(add(std::move(work)));
    }
    return chain;
  }

  Chain exchange(const char* name, Pass pass, Component component, Pattern pattern) {
    if (shard_.ep == 1) return {};
    return {
        add({component, pass, name, {}, expert_exchange(shard_, pattern, group_gpus_per_node_)})};
  }

 private:
  // Compute that follows compute joins its step.
  static void append(Steps& steps, Steps more) {
    for (Step& step : more) {
      const bool join = !steps.empty() && steps.back().wire.pattern == Pattern::kNone &&
                        step.wire.pattern == Pattern::kNone;
      if (join) {
        steps.back().ops.insert(steps.back().ops.end(), step.ops.begin(), step.ops.end());
      } else {
        steps.push_back(std::move(step));
      }
    }
  }

  WorkId add(Work work) {
    works_.push_back(std::move(work));
    return WorkId(static_cast<std::int64_t>(works_.size()) - 1);
  }

  std::vector<Work>& works_;
  const Shard& shard_;
  int group_gpus_per_node_;
};

void add_attention(UnitMaker& make, const Shard& shard, UnitWorks& unit, bool moe) {
  unit.f_attention =
      make.chain("attn", Pass::kF, attention_forward(shard), moe ? router_forward(shard) : Steps{});
  unit.i_attention = make.chain("attn", Pass::kI, moe ? router_input_gradient(shard) : Steps{},
                                attention_input_gradient(shard));
  unit.w_attention = make.chain("attn", Pass::kW, attention_weight_gradient(shard));
}

void add_experts(UnitMaker& make, const Shard& shard, UnitWorks& unit) {
  unit.f_dispatch =
      make.exchange("dispatch(F)", Pass::kF, Component::kDispatch, Pattern::kDispatch);
  unit.f_mlp = make.chain("mlp", Pass::kF, experts_forward(shard));
  unit.f_combine = make.exchange("combine(F)", Pass::kF, Component::kCombine, Pattern::kCombine);
  unit.i_combine =
      make.exchange("combine(B)", Pass::kI, Component::kCombine, Pattern::kDispatchCached);
  unit.i_mlp = make.chain("mlp", Pass::kI, experts_input_gradient(shard));
  unit.i_dispatch =
      make.exchange("dispatch(B)", Pass::kI, Component::kDispatch, Pattern::kCombineGradient);
  unit.w_mlp = make.chain("mlp", Pass::kW, experts_weight_gradient(shard));
}

void add_head(UnitMaker& make, const Shard& shard, UnitWorks& unit) {
  unit.f_post = make.chain("head", Pass::kF, head_forward(shard));
  unit.i_post = make.chain("head", Pass::kI, head_input_gradient(shard));
  unit.w_post = make.chain("head", Pass::kW, head_weight_gradient(shard));
}

}  // namespace

UnitWorks make_unit(std::vector<Work>& works, const Shard& shard, LayerKind kind,
                    int group_gpus_per_node) {
  UnitMaker make(works, shard, group_gpus_per_node);
  UnitWorks unit;
  switch (kind) {
    case LayerKind::kEmbedding:
      unit.f_pre = make.chain("embedding", Pass::kF, embedding_forward(shard));
      unit.i_pre = make.chain("embedding", Pass::kI, embedding_input_gradient(shard));
      unit.w_pre = make.chain("embedding", Pass::kW, embedding_weight_gradient(shard));
      break;
    case LayerKind::kDense:
      add_attention(make, shard, unit, false);
      unit.f_mlp = make.chain("dense mlp", Pass::kF, dense_mlp_forward(shard));
      unit.i_mlp = make.chain("dense mlp", Pass::kI, dense_mlp_input_gradient(shard));
      unit.w_mlp = make.chain("dense mlp", Pass::kW, dense_mlp_weight_gradient(shard));
      break;
    case LayerKind::kMoe:
      add_attention(make, shard, unit, true);
      add_experts(make, shard, unit);
      break;
    case LayerKind::kMtp:
      unit.f_pre = make.chain("mtp projection", Pass::kF, mtp_projection_forward(shard));
      unit.i_pre = make.chain("mtp projection", Pass::kI, mtp_projection_input_gradient(shard));
      unit.w_pre = make.chain("mtp projection", Pass::kW, mtp_projection_weight_gradient(shard));
      add_attention(make, shard, unit, true);
      add_experts(make, shard, unit);
      add_head(make, shard, unit);
      break;
    case LayerKind::kHead: add_head(make, shard, unit); break;
  }
  unit.memory = lifetimes(shard, kind);
  return unit;
}

}  // namespace orrery
