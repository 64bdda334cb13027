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
//
// With ZeRO-2 gradients are reduced, and with ZeRO-3 parameters gathered, inside the cells, layer
// by layer (workload/zero_works.hpp; their places: zero_emitter.cpp). A cell's first gathering
// waits for what the cell waits for, its last reduction ends it, and while one runs beside a
// layer's computation `comm_sms` SMs are lent to it.
#include "core/plan.hpp"
#include "core/program.hpp"
#include "workload/unit_set.hpp"
#include "workload/zero_works.hpp"

namespace orrery {

// Throws InputError for what is not modelled: ZeRO 2 or 3 where a stage lies on two ranks, whose
// gradients of one micro-batch are there at different times. The schedule must have passed the
// checker.
Program lower(const Plan& plan);

// The cells alone, in the place of the instructions that `program` has; its works are those of
// `set` and of `zero`, perhaps with more behind. For searches that time many small schedules of the
// same layers.
void lower_cells(const Plan& plan, const UnitSet& set, const ZeroWorks& zero, Program& program);

}  // namespace orrery
