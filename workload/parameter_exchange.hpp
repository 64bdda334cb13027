#pragma once
// A collective over the GPUs that hold the same parameters: a reduction of their gradients or a
// gathering of what each has of them.
#include <span>
#include <string>

#include "core/program.hpp"
#include "workload/placement.hpp"

namespace orrery {

// Of a group of `replicas` GPUs on the pipeline ranks `ranks`, each of which has `payload` when all
// is there. Requires replicas > 1.
struct ParameterExchange {
  ParameterSet set = ParameterSet::kDense;
  Component component = Component::kGradientReduce;
  Pass pass = Pass::kW;
  std::string name;  // the set is added to it
  Pattern pattern = Pattern::kReduceScatter;
  Bytes payload;
  std::span<const Rank> ranks;
  int replicas = 2;
};
Work parameter_exchange(const Placement& placement, const Layout& layout,
                        const ParameterExchange& exchange);

}  // namespace orrery
