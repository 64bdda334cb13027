#include "sim/scaled_cost.hpp"

namespace orrery {

TransferCost ScaledExchangeCost::transfer(const Work& work, bool beside_compute,
                                          int lent_sms) const {
  TransferCost cost = base_.transfer(work, beside_compute, lent_sms);
  const Component component = work.component;
  if (component != Component::kDispatch && component != Component::kCombine) return cost;
  // A factor of 0 gives an infinite rate, through which any number of bytes takes no time.
  return {cost.fixed * factor_, cost.nic_limit / factor_, cost.nvlink_limit / factor_};
}

}  // namespace orrery
