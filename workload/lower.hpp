#pragma once
// Plan -> Program: the one place where the order of transfers, communication groups, ZeRO and the
// gradient reduction between mirrored stages, and buffer lifetimes are decided.
//
// Within a cell. A lone F or I runs its layers one after another, communication exposed. A full B
// lets each weight gradient run beside the communication that follows its input gradient. An F&B
// pair interleaves layer by layer in the order of DeepSeek-V3's public profile:
//   compute        attn(F)  mlp(B)  mlp(W)  mlp(F)  attn(B)  attn(W)
//   communication  combine(B)  dispatch(F)  dispatch(B)  combine(F)
// The shorter half is spread over the longer one. While communication runs beside compute,
// `comm_sms` SMs are lent to it; otherwise compute has them all.
//
// Between cells. A cell starts when the one before it on the rank has ended on both streams;
// outputs leave as soon as they are ready, inside the cell. Transfers between two ranks arrive in
// the order they are sent.
//
// After the last cell. Gradients are reduced over their replicas (FP32), the norm is all-reduced
// over all ranks, the optimizer runs on each GPU's shard (ZeRO-1) and the updated BF16 parameters
// are gathered.
#include "core/plan.hpp"
#include "core/program.hpp"
#include "workload/unit_set.hpp"

namespace orrery {

// Throws InputError for what is not modelled (ZeRO stages above 1). The schedule must have passed
// the checker.
Program lower(const Plan& plan);

// The cells alone, in the place of the instructions that `program` has; its works begin with those
// of `set`. For searches that time many small schedules of the same layers.
void lower_cells(const Plan& plan, const UnitSet& set, Program& program);

}  // namespace orrery
