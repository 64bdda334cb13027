#include "sim/cost_source.hpp"

#include <algorithm>

namespace orrery {

Seconds uncontended(const Wire& wire, const TransferCost& cost) {
  const Seconds nic = wire.nic.value() > 0 ? wire.nic / cost.nic_limit : Seconds{};
  const Seconds nvlink = wire.nvlink.value() > 0 ? wire.nvlink / cost.nvlink_limit : Seconds{};
  return cost.fixed + std::max(nic, nvlink);
}

}  // namespace orrery
