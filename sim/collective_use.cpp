#include "sim/collective_use.hpp"

#include <algorithm>

namespace orrery {

std::vector<CollectiveUse> collectives_of(const Program& program, const CostSource& costs) {
  std::vector<CollectiveUse> uses;
  for (const Work& work : program.works) {
    const std::string method = work.wire.group > 1 ? costs.method(work) : "";
    if (method.empty()) continue;
    const bool known = std::any_of(uses.begin(), uses.end(), [&](const CollectiveUse& use) {
      return use.name == work.name && use.wire == work.wire;
    });
    if (known) continue;
    uses.push_back(
        {work.name, work.wire, method, uncontended(work.wire, costs.transfer(work, false, 0))});
  }
  return uses;
}

}  // namespace orrery
