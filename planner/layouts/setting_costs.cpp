#include "planner/layouts/setting_costs.hpp"

#include <algorithm>

namespace orrery {
namespace {

class Summing {
 public:
  Summing(const UnitSet& set, Recompute recompute, CommSms sms, const CostSource& costs)
      : set_(set), recompute_(recompute), sms_(sms), costs_(costs) {}

  EntrySums entry(const UnitWorks& unit) const {
    EntrySums sums;
    for (const Chain* chain : {&unit.f_pre, &unit.f_attention, &unit.f_dispatch, &unit.f_mlp,
                               &unit.f_combine, &unit.f_post})
      add(*chain, sums, sums.F, sums.F_waits);
    for (const Chain* chain : {&unit.i_post, &unit.i_combine, &unit.i_mlp, &unit.i_dispatch,
                               &unit.i_attention, &unit.i_pre})
      add(*chain, sums, sums.I, sums.I_waits);
    double none = 0;
    for (const Chain* chain : {&unit.w_post, &unit.w_mlp, &unit.w_attention, &unit.w_pre})
      add(*chain, sums, sums.W, none);
    if (recompute_ == Recompute::kFull ||
        (recomputes_experts(recompute_) && !unit.f_dispatch.empty())) {
      // The gradient of combine may arrive while the layer is computed again.
      for (const WorkId work : unit.i_combine) sums.I_waits -= shortest(set_.works[work.index()]);
      const double before = sums.I + sums.I_waits;
      if (recompute_ == Recompute::kFull) add(unit.f_attention, sums, sums.I, sums.I_waits);
      for (const Chain* chain : {&unit.f_dispatch, &unit.f_mlp})
        add(*chain, sums, sums.I, sums.I_waits);
      sums.again = sums.I + sums.I_waits - before;
    }
    return sums;
  }

 private:
  double shortest(const Work& work) const {
    const Seconds alone = uncontended(work.wire, costs_.transfer(work, false, 0));
    const Seconds beside = uncontended(work.wire, costs_.transfer(work, true, sms_.most));
    return std::min(alone, beside).value();
  }
  void add(const Chain& chain, EntrySums& sums, double& compute, double& waits) const {
    for (const WorkId id : chain) {
      const Work& work = set_.works[id.index()];
      if (work.is_compute()) {
        compute += costs_.compute(work, 0).total().value();
        sums.paired += costs_.compute(work, sms_.least).total().value();
      } else {
        const double time = shortest(work);
        sums.wire += time;
        waits += time;
      }
    }
  }

  const UnitSet& set_;
  Recompute recompute_;
  CommSms sms_;
  const CostSource& costs_;
};

}  // namespace

SettingSums sum_setting(const UnitSet& set, Recompute recompute, CommSms sms,
                        const CostSource& costs) {
  SettingSums sums;
  const Summing summing(set, recompute, sms, costs);
  for (const auto& [kind, unit] : set.units) {
    EntrySums& entry = sums.entries[static_cast<std::size_t>(kind)];
    entry = summing.entry(unit);
    entry.bytes = layer_bytes(set, kind, recompute);
  }
  sums.boundary = set.boundary;
  return sums;
}

ZeroSums sum_zero(const ZeroWorks& zero, const CostSource& costs) {
  const auto sum = [&](const Chain& chain) {
    double seconds = 0;
    for (const WorkId id : chain) {
      const Work& work = zero.at(id);
      seconds += (work.is_compute() ? costs.compute(work, 0).total()
                                    : uncontended(work.wire, costs.transfer(work, false, 0)))
                     .value();
    }
    return seconds;
  };
  ZeroSums sums;
  for (const auto& [kind, unit] : zero.units) {
    sums.entries[static_cast<std::size_t>(kind)] = {sum(unit.gather_F), sum(unit.gather_I),
                                                    sum(unit.reduce), sum(unit.quantise_F),
                                                    sum(unit.quantise_I)};
  }
  return sums;
}

SettingKey setting_key(const Cluster& cluster, const Layout& layout) {
  const int in_node = place(cluster, layout).expert_group_gpus_per_node(layout.ep);
  return {layout.tp,
          layout.cp,
          layout.ep,
          layout.etp,
          layout.micro_batch,
          static_cast<int>(layout.precision),
          static_cast<int>(layout.recompute),
          in_node};
}

}  // namespace orrery
