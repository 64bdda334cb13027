#include "workload/steps.hpp"

#include <utility>

#include "workload/op_factory.hpp"

namespace orrery {

Bytes gathered(const Shard& shard, double width) {
  return Bytes{shard.local_tokens() * (shard.tp - 1) * width * bytes_per_element(DataType::kBf16)};
}

void StepBuilder::add(Op op) {
  if (steps_.empty() || steps_.back().wire.pattern != Pattern::kNone)
    steps_.push_back({{}, {}, component_, {}});
  steps_.back().ops.push_back(std::move(op));
}

void StepBuilder::cast_operand(std::string name, double rows, double columns, bool recompute) {
  if (!shard_.fp8()) return;
  Op operand = cast(std::move(name), rows, columns);
  Op scales = scale_transpose(rows, columns);
  operand.recompute = scales.recompute = recompute;
  add(std::move(operand));
  add(std::move(scales));
}

void StepBuilder::tensor_parallel(Pattern pattern, Bytes sent, std::string tensor) {
  if (shard_.tp == 1) return;
  steps_.push_back({{},
                    {pattern, shard_.tp, sent, Bytes{}, sent, shard_.tp},
                    Component::kTensorParallel,
                    std::move(tensor)});
}

void StepBuilder::expert_tensor_parallel(Pattern pattern, double rows, DataType type,
                                         std::string tensor) {
  if (shard_.etp == 1) return;
  const double others = static_cast<double>(shard_.etp - 1) / shard_.etp;
  const Bytes sent{rows * others * shard_.model.hidden * bytes_per_element(type)};
  steps_.push_back({{},
                    {pattern, shard_.etp, sent, Bytes{}, sent, shard_.etp},
                    Component::kTensorParallel,
                    std::move(tensor)});
}

void StepBuilder::context_parallel(Pattern pattern, Bytes sent, std::string tensor) {
  if (shard_.cp == 1) return;
  // Neighbouring context-parallel ranks share nodes where they can; lower() moves what crosses
  // nodes to the NIC.
  steps_.push_back({{},
                    {pattern, shard_.cp, sent, Bytes{}, sent, shard_.cp},
                    Component::kContextParallel,
                    std::move(tensor)});
}

}  // namespace orrery
