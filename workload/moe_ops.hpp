#pragma once
// The kernels of a mixture-of-experts MLP on one GPU, in execution order, after DeepSeek-V3's
// public training profile. What runs before the dispatch (norm, router, cast) and after its
// gradient belongs to the attention component of the same layer, since it runs between the two
// communications.
#include "workload/steps.hpp"

namespace orrery {

// Pre-MoE norm, router and the cast before dispatch.
Steps router_forward(const Shard& shard);
// Shared expert and routed experts between dispatch and combine.
Steps experts_forward(const Shard& shard);
// From the dispatched gradient of the output to the gradient that goes back over the wire.
Steps experts_input_gradient(const Shard& shard);
// Router backward (its BF16 weight gradient included) and the norm before it.
Steps router_input_gradient(const Shard& shard);
Steps experts_weight_gradient(const Shard& shard);

// The four expert-parallel exchanges of one GPU and one micro-batch. Dispatches carry FP8 with
// scales (BF16 without FP8), combines BF16 (DeepSeek-V3 report, section 3.3.2).
Wire expert_exchange(const Shard& shard, Pattern pattern, int group_gpus_per_node);

}  // namespace orrery
