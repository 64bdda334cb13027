#include "sim/cost_source.hpp"

#include <algorithm>

namespace orrery {

Seconds uncontended(const Wire& wire, const TransferCost& cost) {
  const Seconds nic = wire.nic.value() > 0 ? wire.nic / cost.nic_limit : Seconds{};
  const Bytes by_nvlink = wire.nvlink * cost.nvlink_share;
  const Seconds nvlink = by_nvlink.value() > 0 ? by_nvlink / cost.nvlink_limit : Seconds{};
  return cost.fixed + std::max(nic, nvlink);
}

}  // namespace orrery
