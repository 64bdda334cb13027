#include "sim/varied_cost.hpp"

#include <algorithm>

namespace orrery {

double VariedCost::factor(const Op& op) const {
  const bool grouped =
      op.kernel == KernelClass::kGroupedGemm || op.kernel == KernelClass::kGroupedWgrad;
  switch (kernel_kind(op.kernel)) {
    case KernelKind::kGemm: return factor(Knob::kGemm) * (grouped ? factor(Knob::kExperts) : 1);
    case KernelKind::kAttention: return factor(Knob::kAttention);
    case KernelKind::kStreaming: return factor(Knob::kStreaming);
  }
  return 1;
}

ComputeCost VariedCost::compute(const Work& work, int lent_sms) const {
  ComputeCost cost = base_.compute(work, lent_sms);
  // Ops with the same factor are asked for together: kernels of a work may run side by side.
  std::vector<double> known;
  for (const Op& op : work.ops) {
    const double own = factor(op);
    if (own == 1 || std::find(known.begin(), known.end(), own) != known.end()) continue;
    known.push_back(own);
    Work part = work;
    std::erase_if(part.ops, [&](const Op& other) { return factor(other) != own; });
    cost.busy += base_.compute(part, lent_sms).busy * (own - 1);
  }
  return cost;
}

TransferCost VariedCost::transfer(const Work& work, bool beside_compute, int lent_sms) const {
  TransferCost cost = base_.transfer(work, beside_compute, lent_sms);
  const Pattern pattern = work.wire.pattern;
  const bool exchange = pattern == Pattern::kDispatch || pattern == Pattern::kDispatchCached ||
                        pattern == Pattern::kCombine || pattern == Pattern::kCombineGradient;
  const double rows = exchange ? factor(Knob::kExperts) : 1;
  cost.nic_limit = cost.nic_limit / (factor(Knob::kNic) * rows);
  cost.nvlink_limit = cost.nvlink_limit / (factor(Knob::kNvlink) * rows);
  return cost;
}

}  // namespace orrery
