#include "workload/zero_works.hpp"

#include <fmt/format.h>

#include <set>
#include <utility>

#include "workload/edge_ops.hpp"
#include "workload/op_factory.hpp"
#include "workload/parameter_exchange.hpp"
#include "workload/placement.hpp"

namespace orrery {
namespace {

class ZeroMaker {
 public:
  ZeroMaker(const Model& model, const Cluster& cluster, const Layout& layout,
            const Training& training, SharedMatrices shared, WorkId first)
      : model_(model),
        layout_(layout),
        training_(training),
        shared_(shared),
        placement_(place(cluster, layout)) {
    out_.first = first;
  }

  void add_unit(LayerKind kind) {
    ZeroUnit& unit = out_.units[kind];
    const std::vector<EntryGroup> groups = entry_groups(model_, layout_, kind, shared_);
    double quantised = 0;
    for (const EntryGroup& group : groups) {
      if (group.replicas == 1) continue;
      const double gradients = group.parameters * bytes_of(training_.gradient);
      unit.reduce.push_back(add(exchange(group, Component::kGradientReduce, Pass::kW,
                                         Pattern::kReduceScatter, Bytes{gradients})));
      quantised += group.quantised;
    }
    if (layout_.zero_stage < 3) return;
    const auto gather = [&](Pass pass) {
      Chain chain;
      for (const EntryGroup& group : groups) {
        if (group.replicas == 1) continue;
        const double weights = group.parameters * bytes_of(ScalarType::kBf16);
        chain.push_back(add(exchange(group, Component::kParameterGather, pass, Pattern::kAllGather,
                                     Bytes{weights})));
      }
      return chain;
    };
    const auto quantise = [&](Pass pass) -> Chain {
      if (!is_fp8(layout_.precision) || quantised == 0) return {};
      Work work;
      work.component = Component::kParameterGather;
      work.pass = pass;
      work.name = "quantise gathered weights(" + std::string(to_string(pass)) + ")";
      work.ops = {layout_.precision == Precision::kFp8
                      ? cast("cast of gathered weights", quantised / model_.hidden, model_.hidden)
                      : weight_cast(quantised)};
      return {add(std::move(work))};
    };
    unit.gather_F = gather(Pass::kF);
    unit.quantise_F = quantise(Pass::kF);
    // The gradient of a lookup reads no embedding.
    if (kind == LayerKind::kEmbedding) return;
    unit.gather_I = gather(Pass::kI);
    unit.quantise_I = quantise(Pass::kI);
  }

  ZeroWorks take() { return std::move(out_); }

 private:
  Work exchange(const EntryGroup& group, Component component, Pass pass, Pattern pattern,
                Bytes payload) const {
    const bool reduces = component == Component::kGradientReduce;
    const Rank alone{0};
    return parameter_exchange(placement_, layout_,
                              {group.set, component, pass,
                               (reduces ? "gradient reduction(" : "parameter gather(") +
                                   std::string(to_string(pass)) + ")",
                               pattern, payload, std::span(&alone, 1), group.replicas});
  }

  WorkId add(Work work) {
    out_.works.push_back(std::move(work));
    return WorkId(out_.first.value + static_cast<std::int64_t>(out_.works.size()) - 1);
  }

  const Model& model_;
  const Layout& layout_;
  const Training& training_;
  SharedMatrices shared_;
  Placement placement_;
  ZeroWorks out_;
};

}  // namespace

std::optional<std::string> why_no_zero(const Layout& layout, const Schedule& schedule) {
  if (layout.zero_stage < 2 || schedule.directions == 1) return std::nullopt;
  return fmt::format("ZeRO 2 and 3 need a schedule with each stage on one rank: {} has each on two",
                     schedule.family);
}

ZeroWorks make_zero_works(const Model& model, const Cluster& cluster, const Layout& layout,
                          const Training& training, SharedMatrices shared, WorkId first,
                          std::span<const LayerKind> kinds) {
  ZeroMaker make(model, cluster, layout, training, shared, first);
  if (layout.zero_stage < 2) return {};
  for (LayerKind kind : std::set<LayerKind>(kinds.begin(), kinds.end())) make.add_unit(kind);
  return make.take();
}

ZeroWorks make_zero_works(const Plan& plan, std::size_t behind) {
  if (plan.layout.zero_stage < 2) return {};
  std::vector<LayerKind> kinds;
  for (const auto& stage : plan.layout.stage_map)
    kinds.insert(kinds.end(), stage.begin(), stage.end());
  return make_zero_works(plan.model, plan.cluster, plan.layout, plan.training,
                         shared_matrices(plan.model, plan.layout.stage_map, plan.schedule),
                         WorkId(static_cast<std::int64_t>(behind)), kinds);
}

}  // namespace orrery
