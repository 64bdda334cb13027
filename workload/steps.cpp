#include "workload/steps.hpp"

#include <utility>

#include "workload/op_factory.hpp"

namespace orrery {

Bytes gathered(const Shard& shard, double width) {
  return Bytes{shard.local_tokens() * (shard.tp - 1) * width * bytes_per_element(DataType::kBf16)};
}

Bytes gathered_operand(const Shard& shard, double width) {
  return gathered(shard, width) * (shard.fp8_tensor() ? 0.5 : 1);
}

void StepBuilder::add(Op op) {
  if (steps_.empty() || steps_.back().wire.pattern != Pattern::kNone)
    steps_.push_back({{}, {}, component_, {}});
  steps_.back().ops.push_back(std::move(op));
}

void StepBuilder::cast_operand(std::string name, double rows, double columns, bool recompute) {
  if (shard_.fp8_tensor()) {
    Op both = cast_both_ways(std::move(name), rows, columns);
    both.recompute = recompute;
    add(std::move(both));
  }
  if (!shard_.fp8()) return;
  Op operand = cast(std::move(name), rows, columns);
  Op scales = scale_transpose(rows, columns);
  operand.recompute = scales.recompute = recompute;
  add(std::move(operand));
  add(std::move(scales));
}

void StepBuilder::cast_normed(std::string name, double rows, double columns) {
  if (shard_.fp8()) cast_operand(std::move(name), rows, columns);
}

void StepBuilder::gather_gradient(std::string name, double width) {
  if (shard_.fp8_tensor() && shard_.tp > 1)
    add(streaming("cast " + name, KernelClass::kCast, DataType::kBf16, DataType::kFp8Tensor,
                  shard_.local_tokens(), width, Bytes{shard_.local_tokens() * width * 3}));
  tensor_parallel(Pattern::kAllGather, gathered_operand(shard_, width), std::move(name));
}

void StepBuilder::cast_gathered(std::string name, double width) {
  if (shard_.fp8_tensor() && shard_.tp > 1) {
    add(transpose_fp8(std::move(name), shard_.tokens, width));
  } else {
    cast_operand(std::move(name), shard_.tokens, width);
  }
}

void StepBuilder::transpose_normed(std::string name, double rows, double columns) {
  if (shard_.fp8()) add(cast_transpose(std::move(name), rows, columns));
  if (shard_.fp8_tensor()) add(transpose_fp8(std::move(name), rows, columns));
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
