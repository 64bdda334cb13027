#include "workload/parameter_exchange.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace orrery {

Work parameter_exchange(const Placement& placement, const Layout& layout,
                        const ParameterExchange& exchange) {
  // An expert-parallel group takes every tp-th GPU, so tp / etp neighbours hold the same experts,
  // and so does the next group, ep * tp GPUs on; where it takes `fold` of the tp / etp, that many
  // fewer, and the next group is as much nearer. Replicas of divided parameters are tp apart, those
  // of whole ones are neighbours.
  const int node = std::min(placement.gpus_per_node, placement.gpus_per_rank);
  int in_node = std::max(1, node / layout.tp);
  if (exchange.set == ParameterSet::kReplicated) in_node = node;
  if (exchange.set == ParameterSet::kExpert) {
    const int fold = placement.expert_fold(layout.ep);
    in_node = std::max(1, std::min(layout.tp, node) / layout.etp / fold) *
              std::max(1, node / (layout.ep / fold * layout.tp));
  }
  in_node *= placement.ranks_in_node({exchange.ranks.begin(), exchange.ranks.end()});
  Work work;
  work.component = exchange.component;
  work.pass = exchange.pass;
  work.name = fmt::format("{}, {}", exchange.name, to_string(exchange.set));
  work.wire = collective_wire(exchange.pattern, exchange.payload, exchange.replicas,
                              std::min(in_node, exchange.replicas));
  work.parameters = exchange.set;
  return work;
}

}  // namespace orrery
