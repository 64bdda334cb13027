#pragma once
// Private to workload/: the two kinds of attention block behind workload/attention_ops.hpp.
#include "workload/attention_ops.hpp"

namespace orrery {

Steps mla_forward(const Shard& shard);
Steps mla_input_gradient(const Shard& shard);
Steps mla_weight_gradient(const Shard& shard);

Steps gqa_forward(const Shard& shard);
Steps gqa_input_gradient(const Shard& shard);
Steps gqa_weight_gradient(const Shard& shard);

// The attention kernel, fused or not; backwards with its pre- and postprocessing.
void add_attention_forward(StepBuilder& ops, const Shard& shard);
void add_attention_backward(StepBuilder& ops, const Shard& shard);

void add_unfused_forward(StepBuilder& ops, const Shard& shard);
void add_unfused_backward(StepBuilder& ops, const Shard& shard);

}  // namespace orrery
